// What a stream is asked to have in force: it goes again on the next connection until it is answered. No I/O.

import { CodecError, SessionError } from "./errors.js";
import { MAX_REFERENCE_BYTES, toBase64 } from "./wire.js";

/** @import {Format, Settings, Updated} from "./types.js" */
/** @typedef {{resolve: (value: any) => void, reject: (error: Error) => void, promise: Promise<any>}} Deferred */
/** @typedef {{patch: Settings, answer: Deferred}} Update */
/** @typedef {(type: string, fields: object) => Promise<any>} Request */

/** Apply `changes` as the server does: a new prompt alone ends a blend.
 * @param {Settings} current @param {Settings} changes @returns {Settings} */
export function mergeSettings(current, changes) {
  const ended = "prompt" in changes && !("prompts_blend" in changes);
  return { ...current, ...(ended && "prompts_blend" in current ? { prompts_blend: [] } : {}), ...changes };
}

/** @returns {Deferred} */
export function deferred() {
  /** @type {any} */
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  made.promise.catch(() => {}); // a caller may ignore it: onError hears of it too
  return made;
}

/** Something to have in force, of which the newest alone counts: it stands in for one that is under way, and goes again
 * on the next connection. */
class Wish {
  /** @type {Record<string, any> | null} asked for, not answered yet */ fields = null;
  /** @type {Record<string, any> | null} as last confirmed */ inForce = null;
  /** @type {Deferred | null} to all that asked since the last answer */ answer = null;
  sent = false;
  held = false;

  /** @param {"reformat" | "reference"} type of the message that asks for it */
  constructor(type) {
    this.type = type;
  }

  /** @param {Record<string, any>} fields @param {boolean} [held] back until it can be had */
  ask(fields, held = false) {
    Object.assign(this, { fields, held, sent: false });
    return (this.answer ??= deferred());
  }

  /** What is said by the connection that was lost counts no more. */
  again() {
    if (this.fields) this.ask({ ...this.fields }, this.held);
  }
}

/** The settings, the format and the reference picture of one stream. Call `go` when the stream is open, or once more may
 * go out; `lost` when the connection is gone; `close` for good. */
export class Changes {
  /** @type {Update | null} sent, not yet answered */ #updating = null;
  /** @type {Update | null} the newest settings not yet sent */ #update = null;
  #reformat = new Wish("reformat");
  #reference = new Wish("reference");
  #closed = false;

  /** @param {{readonly state: string, readonly welcome: {reference: boolean} | null}} stream @param {Request} request */
  constructor(stream, request) {
    this.stream = stream;
    this.request = request;
  }

  /** @param {Settings} patch @returns {Promise<Updated>} */
  update(patch) {
    const answer = this.#refuse(this.#update?.answer ?? deferred());
    this.#update = { patch: mergeSettings(this.#update?.patch ?? {}, patch), answer };
    this.#sendUpdate();
    return answer.promise;
  }

  /** @param {Partial<Format>} format */
  reformat(format) {
    return this.#wish(this.#reformat, { format: { ...this.#reformat.fields?.format, ...format } });
  }

  /** @param {ArrayBuffer | Uint8Array | null} jpeg */
  reference(jpeg) {
    const bytes = jpeg?.byteLength ?? 0;
    const fact = `a reference picture has at most ${MAX_REFERENCE_BYTES} bytes, got ${bytes}`;
    if (bytes > MAX_REFERENCE_BYTES) return Promise.reject(new CodecError("bad_image", fact, { field: "image" }));
    return this.#wish(this.#reference, { image: jpeg && toBase64(jpeg) });
  }

  /** A session that was opened anew has no reference picture: ask for the last one, once the model takes any. */
  restore() {
    const { fields, inForce } = this.#reference;
    if (!fields && inForce?.image) this.#reference.ask(inForce, true);
  }

  go() {
    this.#sendUpdate();
    this.#sendWish(this.#reformat);
    this.#sendWish(this.#reference);
  }

  lost() {
    const [older, newer] = [this.#updating, this.#update];
    this.#updating = null;
    if (older) this.#update = { patch: mergeSettings(older.patch, newer?.patch ?? {}), answer: older.answer };
    if (older && newer) older.answer.promise.then(newer.answer.resolve, newer.answer.reject);
    this.#reformat.again();
    this.#reference.again();
  }

  close() {
    this.#closed = true;
    for (const { answer } of [this.#update, this.#reformat, this.#reference].filter((one) => one !== null)) {
      if (answer) this.#refuse(answer);
    }
  }

  /** Nothing is answered once the stream is closed. @param {Deferred} answer */
  #refuse(answer) {
    if (this.#closed) answer.reject(new SessionError("closed", "the stream is closed"));
    return answer;
  }

  #sendUpdate() {
    const update = this.#update;
    if (this.stream.state !== "open" || this.#updating || !update) return;
    this.#updating = update;
    this.#update = null;
    /** @type {(settle: (answer: any) => void) => (answer: any) => void} */
    const then = (settle) => (answer) => {
      if (this.#updating !== update) return; // the connection was lost, and the update waits for the next one
      this.#updating = null;
      settle(answer);
      this.#sendUpdate();
    };
    this.request("update", { settings: update.patch }).then(then(update.answer.resolve), then(update.answer.reject));
  }

  /** @param {Wish} wish @param {Record<string, any>} fields @returns {Promise<any>} */
  #wish(wish, fields) {
    const answer = this.#refuse(wish.ask(fields));
    this.#sendWish(wish);
    return answer.promise;
  }

  /** @param {Wish} wish */
  #sendWish(wish) {
    const { fields, answer } = wish;
    if (this.stream.state !== "open" || !fields || wish.sent) return;
    if (wish.held && !this.stream.welcome?.reference) return;
    wish.sent = true;
    /** @type {(settle: ((result: any) => void) | undefined) => (result: any) => void} */
    const then = (settle) => (result) => {
      if (wish.fields !== fields) return; // a newer one stands in for it
      wish.fields = wish.answer = null;
      settle?.(result);
    };
    const request = this.request(wish.type, fields);
    request.then(() => (wish.inForce = fields), () => {});
    request.then(then(answer?.resolve), then(answer?.reject));
  }
}
