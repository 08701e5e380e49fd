// Whether the other end lives, and how far away it is: a page is told neither. The clock is passed in.

/** @typedef {{everyMs: number, silenceMs: number}} Pulse how often to ask, and how much silence is death */
/** @typedef {{now: () => number, setTimeout: (run: () => void, ms: number) => any,
 *   clearTimeout: (timer: any) => void}} Clock */

/** Nothing tells of a UDP path that is gone; of a TCP connection the browser mostly hears. Silence is looked at with each
 * beat: that of WebRTC is noticed after about 3 s.
 * @type {Readonly<Record<"webrtc" | "websocket", Pulse>>} */
export const PULSES = Object.freeze({
  webrtc: { everyMs: 1000, silenceMs: 2500 },
  websocket: { everyMs: 2500, silenceMs: 10_000 },
});

/** A page that was asleep wakes to a clock that jumped: so many questions must stay unanswered too. */
const UNANSWERED = 2;

/** Asks with `ping` until `stop`. */
export class Heartbeat {
  /** @type {number | null} of the newest ping that was answered */ roundTripMs = null;
  #heardMs;
  #unanswered = 0;
  #id = 0;
  #askedMs = 0;
  /** @type {any} */ #timer;

  /** @param {Pulse} pulse @param {Clock} clock
   * @param {{ask: (id: string) => void, died: () => void}} does */
  constructor(pulse, clock, does) {
    this.pulse = pulse;
    this.clock = clock;
    this.does = does;
    this.#heardMs = clock.now();
    this.#wait();
  }

  /** Something came. */
  heard() {
    this.#heardMs = this.clock.now();
    this.#unanswered = 0;
  }

  /** @param {string} id of a ping */
  answered(id) {
    if (id === String(this.#id)) this.roundTripMs = this.clock.now() - this.#askedMs;
  }

  stop() {
    this.clock.clearTimeout(this.#timer);
  }

  #wait() {
    this.#timer = this.clock.setTimeout(() => this.#beat(), this.pulse.everyMs);
  }

  #beat() {
    const silentMs = this.clock.now() - this.#heardMs;
    if (silentMs >= this.pulse.silenceMs && this.#unanswered >= UNANSWERED) return this.does.died();
    this.#unanswered += 1;
    this.#askedMs = this.clock.now();
    this.does.ask(String(++this.#id));
    this.#wait();
  }
}
