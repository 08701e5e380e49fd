// The access token: one that stays, or one that is asked for before every connection. Pure but for the caller's function.

import { AccessError } from "./errors.js";

/** @import {Token} from "./types.js" */

/** Call `accepted` when the server took the token. */
export class TokenSource {
  #refused = false;

  /** @param {Token | undefined} token */
  constructor(token) {
    this.token = token;
  }

  /** That of the next connection; a promise where it has to be fetched, which may reject with an AccessError `no_token`.
   * @returns {string | undefined | Promise<string>} */
  ask() {
    return typeof this.token === "function" ? fetched(this.token) : this.token;
  }

  accepted() {
    this.#refused = false;
  }

  /** Whether to come back with another one after a refusal: once, until one was accepted. */
  renews() {
    if (typeof this.token !== "function" || this.#refused) return false;
    this.#refused = true;
    return true;
  }
}

/** @param {() => string | Promise<string>} fetch @returns {Promise<string>} */
async function fetched(fetch) {
  let token;
  try {
    token = await fetch();
  } catch (error) {
    throw new AccessError("no_token", `no access token could be had: ${error}`, { retryable: true });
  }
  if (typeof token === "string" && token) return token;
  throw new AccessError("no_token", `an access token is a text, got ${typeof token}`);
}
