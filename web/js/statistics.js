// What a stream counts and measures itself. Pure; the clock is passed in.

import { Rate, Window } from "./meter.js";

/** @import {Output, Statistics} from "./types.js" */

export class Counter {
  sent = 0;
  replaced = 0;
  received = 0;
  connections = 0;
  #fps = new Rate();
  #latencyMs = new Window();

  /** An output was painted. @param {number} nowMs Unix milliseconds
   * @param {number | null} capturedUs when its frame was captured, by the same clock */
  painted(nowMs, capturedUs) {
    this.#fps.tick(nowMs);
    if (capturedUs !== null) this.#latencyMs.add(nowMs - capturedUs / 1000);
  }

  /** @param {number} nowMs @param {number | null} roundTripMs @returns {Statistics} */
  report(nowMs, roundTripMs) {
    const { sent, replaced, received } = this;
    const [p50, p90] = [0.5, 0.9].map((share) => this.#latencyMs.percentile(share));
    const latencyMs = this.#latencyMs.count ? { p50, p90 } : null;
    const reconnections = Math.max(0, this.connections - 1);
    return { sent, replaced, received, reconnections, fps: this.#fps.perSecond(nowMs), latencyMs, roundTripMs };
  }
}
