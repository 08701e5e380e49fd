// What a WebRTC connection's statistics say of the time between two readings. Pure.

/** @typedef {{encodeMs: number, bufferMs: number, decodeMs: number, sentFps: number, dropped: number}} RtcFigures
 * a frame's encoding, its wait in the jitter buffer and its decoding, in this browser; NaN where no frame was
 * counted. `dropped`: received, and never shown. */

/** @type {Readonly<RtcFigures>} */
export const NO_FIGURES = Object.freeze({ encodeMs: NaN, bufferMs: NaN, decodeMs: NaN, sentFps: NaN, dropped: 0 });

export class RtcMeter {
  /** @type {Map<string, any>} by id */ #before = new Map();

  /** @param {Iterable<any>} report the values of an RTCStatsReport @returns {RtcFigures} */
  read(report) {
    const video = [...report].filter(({ kind }) => kind === "video");
    const [sent, received] = ["outbound-rtp", "inbound-rtp"].map((kind) => video.find(({ type }) => type === kind));
    const figures = {
      encodeMs: 1000 * this.#ratio(sent, "totalEncodeTime", "framesEncoded"),
      bufferMs: 1000 * this.#ratio(received, "jitterBufferDelay", "jitterBufferEmittedCount"),
      decodeMs: 1000 * this.#ratio(received, "totalDecodeTime", "framesDecoded"),
      sentFps: 1000 * this.#ratio(sent, "framesSent", "timestamp"),
      dropped: received?.framesDropped ?? 0,
    };
    this.#before = new Map([sent, received].filter(Boolean).map((stats) => [stats.id, stats]));
    return figures;
  }

  /** How much one counter grew for each step of another. @param {any} stats @param {string} what @param {string} by */
  #ratio(stats, what, by) {
    const before = this.#before.get(stats?.id);
    if (!before) return NaN;
    const steps = stats[by] - before[by];
    return steps > 0 ? (stats[what] - before[what]) / steps : NaN;
  }
}
