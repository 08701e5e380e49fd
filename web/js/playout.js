// Shows outputs some time after they came, and no more than so many a second. No I/O; the clock is passed in.

/** @import {Clock} from "./heartbeat.js" */

/** What waits to be shown, or is let go. @typedef {{bytes: number, drop: () => void}} Held */

/** Of all that waits: some seconds of large pictures. */
const MAX_BYTES = 256 * 1024 * 1024;

/** Of the outputs that are due the newest is shown. When more wait than there is room for, the oldest are due at once:
 * the delay becomes shorter, and the picture goes on.
 * @template {Held} T */
export class Playout {
  /** @type {{held: T, dueMs: number}[]} */ #waiting = [];
  #bytes = 0;
  #nextMs = -Infinity;
  #showing = false;
  /** @type {any} */ #timer = null;

  /** @param {{delayMs: number, fps: number}} pace @param {(held: T) => Promise<void>} show
   * @param {Clock} clock @param {number} [maxBytes] */
  constructor({ delayMs, fps }, show, clock, maxBytes = MAX_BYTES) {
    this.delayMs = delayMs;
    this.intervalMs = 1000 / fps;
    this.show = show;
    this.clock = clock;
    this.maxBytes = maxBytes;
  }

  /** @param {T} held just came */
  put(held) {
    const nowMs = this.clock.now();
    this.#waiting.push({ held, dueMs: nowMs + this.delayMs });
    this.#bytes += held.bytes;
    let excess = this.#bytes - this.maxBytes;
    for (const waiting of this.#waiting) {
      if (excess <= 0) break;
      waiting.dueMs = nowMs;
      excess -= waiting.held.bytes;
    }
    this.#wait();
  }

  /** Let go of all that waits. */
  clear() {
    for (const { held } of this.#waiting) held.drop();
    this.#waiting = [];
    this.#bytes = 0;
    this.#wait();
  }

  #wait() {
    this.clock.clearTimeout(this.#timer);
    const [first] = this.#waiting;
    if (!first || this.#showing) return;
    const waitMs = Math.max(first.dueMs, this.#nextMs) - this.clock.now();
    if (waitMs > 0) this.#timer = this.clock.setTimeout(() => this.#wait(), waitMs);
    else void this.#showDue();
  }

  async #showDue() {
    const nowMs = this.clock.now();
    const due = this.#waiting.filter(({ dueMs }) => dueMs <= nowMs);
    this.#waiting = this.#waiting.slice(due.length);
    for (const { held } of due) this.#bytes -= held.bytes;
    for (const { held } of due.slice(0, -1)) held.drop();
    // Counted from when it might have been, so that late timers do not add up.
    this.#nextMs = (nowMs - this.#nextMs < this.intervalMs ? this.#nextMs : nowMs) + this.intervalMs;
    this.#showing = true;
    try {
      await this.show(due[due.length - 1].held);
    } finally {
      this.#showing = false;
      this.#wait();
    }
  }
}
