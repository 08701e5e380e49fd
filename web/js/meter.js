// Figures over the last frames: percentiles and rates. Pure; the clock is passed in.

/** The last `size` values. */
export class Window {
  /** @type {number[]} */ #values = [];
  #next = 0;

  /** @param {number} [size] */
  constructor(size = 300) {
    this.size = size;
  }

  get count() {
    return this.#values.length;
  }

  /** @param {number} value */
  add(value) {
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) % this.size;
  }

  clear() {
    this.#values = [];
    this.#next = 0;
  }

  /** The value that `share` (0 to 1) of all values do not exceed; NaN when there is none. @param {number} share */
  percentile(share) {
    const sorted = [...this.#values].sort((a, b) => a - b);
    if (!sorted.length) return NaN;
    return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  }
}

/** Events per second over the last `spanMs`. */
export class Rate {
  /** @type {number[]} */ #times = [];

  /** @param {number} [spanMs] */
  constructor(spanMs = 2000) {
    this.spanMs = spanMs;
  }

  /** @param {number} nowMs */
  tick(nowMs) {
    this.#times.push(nowMs);
    this.#forget(nowMs);
  }

  clear() {
    this.#times = [];
  }

  /** @param {number} nowMs */
  perSecond(nowMs) {
    this.#forget(nowMs);
    return this.#times.length / (this.spanMs / 1000);
  }

  /** @param {number} nowMs */
  #forget(nowMs) {
    while (this.#times.length && this.#times[0] <= nowMs - this.spanMs) this.#times.shift();
  }
}

/** The stages a frame goes through, in order, as keys of `FrameTimes`. */
export const STAGES = Object.freeze(
  /** @type {const} */ (["capture", "network", "queue", "engine", "encode", "buffer", "decode", "paint"]),
);

/** @typedef {Record<typeof STAGES[number], number>} FrameTimes milliseconds */

/** Where one frame's time went. What neither end measured is the network, both ways.
 * @param {{capturedUs: number, queueUs: number, engineUs: number, encodeUs: number, sentMs: number | null,
 *   receivedMs: number}} output @param {number} paintedMs @returns {FrameTimes} */
export function frameTimes(output, paintedMs) {
  const [queue, engine, encode] = [output.queueUs / 1000, output.engineUs / 1000, output.encodeUs / 1000];
  const capturedMs = output.capturedUs / 1000;
  const sentMs = output.sentMs ?? capturedMs;
  return {
    capture: Math.max(0, sentMs - capturedMs),
    network: Math.max(0, output.receivedMs - sentMs - queue - engine - encode),
    queue,
    engine,
    encode,
    buffer: 0,
    decode: 0,
    paint: Math.max(0, paintedMs - output.receivedMs),
  };
}

/** Where the time of a frame went that the server made itself. Its clock is not this one's: only durations count.
 * @param {{queueUs: number, engineUs: number, encodeUs: number, receivedMs: number}} output
 * @param {number} paintedMs @returns {FrameTimes} */
export function serverTimes({ queueUs, engineUs, encodeUs, receivedMs }, paintedMs) {
  return {
    capture: 0,
    network: 0,
    queue: queueUs / 1000,
    engine: engineUs / 1000,
    encode: encodeUs / 1000,
    buffer: 0,
    decode: 0,
    paint: Math.max(0, paintedMs - receivedMs),
  };
}

/** Where the time of a frame went that came over WebRTC: what the server says of it, and what this browser counted for
 * the frames of the last second. The network is there and back once.
 * @param {{queueUs: number, engineUs: number, encodeUs: number, receivedMs: number}} output
 * @param {{roundTripMs: number | null, encodeMs: number, bufferMs: number, decodeMs: number}} path
 * @param {number} paintedMs @returns {FrameTimes} */
export function videoTimes(output, path, paintedMs) {
  const buffer = path.bufferMs || 0;
  const decode = path.decodeMs || 0;
  return {
    ...serverTimes(output, paintedMs),
    capture: path.encodeMs || 0,
    network: path.roundTripMs ?? 0,
    buffer,
    decode,
    paint: Math.max(0, paintedMs - output.receivedMs - buffer - decode),
  };
}

/** From the time of capture, as far as it is known and can be true, until now; else the sum of what was measured.
 * @param {number | null} capturedUs @param {FrameTimes} times @param {number} paintedMs */
export function glassToGlass(capturedUs, times, paintedMs) {
  const sinceMs = capturedUs === null ? 0 : paintedMs - capturedUs / 1000;
  if (sinceMs > 0 && sinceMs < 10_000) return sinceMs;
  return STAGES.reduce((sum, name) => sum + times[name], 0);
}

/** What stream batch costs: frames of delay. @param {{[name: string]: unknown}} settings */
export function batchDelay({ stream_batch, steps }) {
  return stream_batch === true ? Math.max(0, Number(steps) - 1) : 0;
}
