// The video of a WebRTC connection: how the sent one is encoded, and the received one frame by frame. In browsers.

import { KIND } from "./wire.js";

/** @import {Clock} from "./heartbeat.js" */
/** @import {Format, Output, OutputFacts, VideoCodec} from "./types.js" */

/** Facts kept for frames that did not come yet. */
const FACTS_KEPT = 64;
/** How long a frame waits for them: less than a frame lasts. */
const FACTS_LATE_MS = 15;
const UNKNOWN = Object.freeze({
  seq: null,
  sourceSeq: null,
  settingsRev: null,
  capturedUs: null,
  queueUs: null,
  engineUs: null,
  encodeUs: null,
  flags: 0,
});

/** Offer one codec alone, with what repairs its losses. @param {RTCRtpTransceiver} transceiver
 * @param {VideoCodec} name @returns {boolean} whether this browser has it */
export function preferCodec(transceiver, name) {
  if (name === "auto") return true;
  // Only entries of this list are accepted, and only as they stand in it.
  const codecs = RTCRtpReceiver.getCapabilities("video")?.codecs ?? [];
  const named = (/** @type {string} */ type) => codecs.filter((codec) => codec.mimeType.toLowerCase() === `video/${type}`);
  if (!named(name).length) return false;
  transceiver.setCodecPreferences([...named(name), ...named("rtx")]);
  return true;
}

/** How much smaller a picture may be sent when it becomes an output of this format; at least 1.
 * @param {{width?: number, height?: number}} picture @param {Format} format */
export function scaleDown({ width = 0, height = 0 }, format) {
  const scales = [width / format.width, height / format.height];
  return Math.max(1, format.fit === "cover" ? Math.min(...scales) : Math.max(...scales));
}

/** Encodes no more than is of use: a stale or an oversized picture costs both ends time. */
export class VideoSender {
  /** @type {{maxFps?: number, format?: Format, paused: boolean}} */ #wanted = { paused: false };
  #tuning = Promise.resolve();

  /** @param {RTCRtpSender} sender @param {MediaStreamTrack | null} track */
  constructor(sender, track) {
    this.sender = sender;
    hint(track);
  }

  /** @param {MediaStreamTrack | null} track */
  async replace(track) {
    hint(track);
    await this.sender.replaceTrack(track);
    this.tune(this.#wanted);
  }

  /** @param {{maxFps?: number, format?: Format, paused: boolean}} wanted */
  tune(wanted) {
    this.#wanted = wanted;
    this.#tuning = this.#tuning.then(() => this.#apply()); // a second change before the first is done is refused
  }

  async #apply() {
    const parameters = this.sender.getParameters();
    const [encoding] = parameters.encodings ?? [];
    if (!encoding) return; // before the answer, or where the browser leaves nothing to choose
    const { maxFps, format, paused } = this.#wanted;
    encoding.active = !paused;
    if (maxFps) encoding.maxFramerate = maxFps;
    if (format) encoding.scaleResolutionDownBy = scaleDown(this.sender.track?.getSettings() ?? {}, format);
    parameters.degradationPreference = "maintain-framerate"; // fewer pixels arrive sooner, fewer frames later
    try {
      await this.sender.setParameters(parameters);
    } catch (error) {
      // The connection is closed, or this browser lacks one of them: it then sends as it sees fit.
      if (!(error instanceof DOMException || error instanceof TypeError)) throw error;
    }
  }
}

/** Motion before detail. @param {MediaStreamTrack | null} track */
function hint(track) {
  if (track && "contentHint" in track) track.contentHint = "motion";
}

/** Hands over each frame of a received track. Call `stop` when done. */
export class VideoReceiver {
  #video = document.createElement("video");
  /** @type {Map<number, OutputFacts>} by RTP timestamp */ #facts = new Map();
  /** @type {{rtpTimestamp: number, receivedMs: number} | null} shown, without its facts so far */ #bare = null;
  /** @type {number | null} */ #newest = null;
  /** @type {any} */ #timer;
  #stopped = false;

  /** @param {MediaStream} stream with that track @param {(output: Output) => void} onFrame @param {Clock} clock */
  constructor(stream, onFrame, clock) {
    this.onFrame = onFrame;
    this.clock = clock;
    Object.assign(this.#video, { muted: true, playsInline: true, autoplay: true, srcObject: stream });
    this.#video.play().catch(() => {}); // stopped before it began
    this.#watch();
  }

  /** What the server says of a frame that it sent. @param {any} message of type `output` */
  describe(message) {
    const facts = {
      seq: message.seq,
      sourceSeq: message.source_seq,
      settingsRev: message.settings_rev,
      capturedUs: message.captured_us || null,
      queueUs: message.queue_us,
      engineUs: message.engine_us,
      encodeUs: message.encode_us,
      flags: message.flags,
    };
    this.#facts.set(message.rtp_timestamp, facts);
    if (this.#facts.size > FACTS_KEPT) this.#facts.delete(this.#facts.keys().next().value ?? 0);
    const bare = this.#bare;
    if (bare !== null && bare.rtpTimestamp === message.rtp_timestamp) this.#show(facts, bare.receivedMs);
    else if (this.#unwatched) this.#show(facts, this.clock.now());
  }

  stop() {
    this.#stopped = true;
    this.#video.srcObject = null;
    this.clock.clearTimeout(this.#timer);
  }

  /** The browser tells of no frames that it does not paint. */
  get #unwatched() {
    return document.hidden || !("requestVideoFrameCallback" in this.#video);
  }

  /** The newest frame that the server told of: a guess, for browsers that do not say which one they show. */
  get #described() {
    return [...this.#facts.keys()].at(-1) ?? -1;
  }

  #watch() {
    if (!("requestVideoFrameCallback" in this.#video)) return;
    this.#video.requestVideoFrameCallback((_now, { rtpTimestamp = this.#described, receiveTime }) => {
      if (this.#stopped) return;
      this.#watch();
      const receivedMs = receiveTime === undefined ? this.clock.now() : performance.timeOrigin + receiveTime;
      this.#came(rtpTimestamp, receivedMs);
    });
  }

  /** A frame and what is said of it travel side by side, and either may be the first by some milliseconds.
   * @param {number} rtpTimestamp @param {number} receivedMs */
  #came(rtpTimestamp, receivedMs) {
    const facts = this.#facts.get(rtpTimestamp);
    if (facts) return this.#show(facts, receivedMs);
    this.clock.clearTimeout(this.#timer);
    this.#bare = { rtpTimestamp, receivedMs };
    this.#timer = this.clock.setTimeout(() => this.#show(null, receivedMs), FACTS_LATE_MS);
  }

  /** @param {OutputFacts | null} facts @param {number} receivedMs */
  #show(facts, receivedMs) {
    this.clock.clearTimeout(this.#timer);
    this.#bare = null;
    const { videoWidth: width, videoHeight: height } = this.#video;
    if (this.#stopped || !width || (facts && facts.seq === this.#newest)) return;
    this.#newest = facts?.seq ?? null;
    const picture = { kind: KIND.output, codec: null, width, height, data: null, video: this.#video };
    this.onFrame({ ...picture, ...(facts ?? UNKNOWN), sentMs: null, receivedMs });
  }
}
