// What the server counts of a session that another program feeds: whether frames come in, and how many a second. Pure;
// the clock is passed in.

/** Without a frame for so long whoever sends them has stopped. */
const DRY_MS = 3000;
const SPAN_MS = 2000;

export class Flow {
  /** @type {{count: number, atMs: number}[]} of the last `SPAN_MS`, and one before */ #counts = [];
  #movedMs = 0;

  /** Call every second. @param {{frames_in: number, frames_out: number}} counted of a prompt stream only what goes out
   * @param {number} nowMs */
  read({ frames_in: came, frames_out: went }, nowMs) {
    const count = Math.max(came, went);
    const last = this.#counts.at(-1)?.count;
    if (last === undefined || count < last) this.#counts = []; // another session of that name
    if (count !== last) this.#movedMs = nowMs;
    this.#counts.push({ count, atMs: nowMs });
    while (this.#counts.length > 2 && this.#counts[1].atMs <= nowMs - SPAN_MS) this.#counts.shift();
  }

  clear() {
    this.#counts = [];
  }

  /** NaN before it can be known. */
  get fps() {
    const [first, last] = [this.#counts[0], this.#counts.at(-1)];
    return first && last ? ((last.count - first.count) * 1000) / (last.atMs - first.atMs) : NaN;
  }

  /** @param {number} nowMs */
  dry(nowMs) {
    return this.#counts.length > 1 && nowMs - this.#movedMs >= DRY_MS;
  }
}
