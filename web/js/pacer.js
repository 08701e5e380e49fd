// Holds a source to a frame rate. Pure; the clock is passed in.

/** Frames saved up at most. Half a frame above one lets jitter through; the server's own gate allows a little more. */
const BURST = 1.5;

/** Admits frames at an average rate: a token bucket. */
export class Pacer {
  #saved = BURST;
  /** @type {number | null} */ #seenMs = null;

  /** Whether a frame at `nowMs` is within `fps`, which may differ from call to call.
   * @param {number} nowMs @param {number} fps */
  admit(nowMs, fps) {
    if (this.#seenMs !== null) this.#saved = Math.min(BURST, this.#saved + ((nowMs - this.#seenMs) / 1000) * fps);
    this.#seenMs = nowMs;
    if (this.#saved < 1) return false;
    this.#saved -= 1;
    return true;
  }
}

/** Frames a second worth sending to an engine that took so long for its last ones. Twice what it can compute keeps
 * its next frame fresh; more would only be encoded and decoded to be dropped, often on the engine's own processor.
 * @param {readonly number[]} engineMs */
export function usefulFps(engineMs) {
  if (!engineMs.length) return Infinity;
  const fastest = Math.min(...engineMs); // a single slow one may have been a pause or a warm-up
  return Math.max(2, 2000 / fastest);
}
