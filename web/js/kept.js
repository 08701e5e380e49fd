// The last pictures that were sent: what an output was made from.

/** @typedef {{seq: number | null, takenMs: number, canvas: OffscreenCanvas}} KeptFrame `takenMs` in Unix milliseconds */

const KEPT_FRAMES = 8;

export class KeptFrames {
  /** @type {KeptFrame[]} oldest first */ #frames = [];

  /** A canvas of this size to draw the next one to. @param {number} width @param {number} height */
  canvas(width, height) {
    const old = this.#frames.length >= KEPT_FRAMES ? this.#frames.shift()?.canvas : undefined;
    if (old?.width === width && old.height === height) return old;
    return new OffscreenCanvas(width, height);
  }

  /** @param {KeptFrame} frame */
  keep(frame) {
    this.#frames.push(frame);
  }

  /** @param {number} seq */
  sent(seq) {
    return this.#frames.find((frame) => frame.seq === seq)?.canvas ?? null;
  }

  /** The one that was taken nearest to this time; the newest where none is known. @param {number | null} takenMs */
  taken(takenMs) {
    if (takenMs === null) return this.#frames.at(-1)?.canvas ?? null;
    const distance = (/** @type {KeptFrame} */ frame) => Math.abs(frame.takenMs - takenMs);
    const nearer = (/** @type {KeptFrame} */ a, /** @type {KeptFrame} */ b) => (distance(b) <= distance(a) ? b : a);
    return this.#frames.length ? this.#frames.reduce(nearer).canvas : null;
  }

  clear() {
    this.#frames = [];
  }
}
