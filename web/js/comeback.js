// Whether and when to connect again. Pure.

/** @import {TokenSource} from "./token.js" */

const MIN_BACKOFF_MS = 500;
/** Close codes of a token that is not good, or not good any more: another one may be. */
const RENEWED = Object.freeze([4401, 4411]);

/** @typedef {{reconnect?: boolean, retries?: number, maxBackoffMs?: number, comesBack: (code: number) => boolean,
 *   random: () => number}} Patience */

export class Comeback {
  #attempt = 0;

  /** @param {Patience} patience @param {TokenSource} tokens */
  constructor(patience, tokens) {
    this.patience = patience;
    this.tokens = tokens;
  }

  /** The server took this client in. */
  arrived() {
    this.#attempt = 0;
    this.tokens.accepted();
  }

  /** How long to wait after a connection ended with this close code: full jitter, so that the clients of a restarted
   * server do not come back all at once. Null: do not come back. @param {number} code @returns {number | null} */
  delayMs(code) {
    const { reconnect = true, retries = Infinity, maxBackoffMs = 30_000, comesBack, random } = this.patience;
    if (!reconnect) return null;
    if (RENEWED.includes(code) && this.tokens.renews()) return 0;
    if (this.#attempt >= retries || !comesBack(code)) return null;
    return random() * Math.min(maxBackoffMs, MIN_BACKOFF_MS * 2 ** this.#attempt++);
  }
}
