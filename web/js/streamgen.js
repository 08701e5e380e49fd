// streamgen.js: publish video to a streamgen session, or view one. One file, no dependencies, browser or node.
// docs/javascript.md shows how to use it; docs/protocol.md is the wire format it speaks.

/** @import {Event, Format, Header, HeaderFields, InputFrame, Options, Output, Settings, Snapshot, State, StateDetail,
 *   Stats, Updated, Welcome} from "./types.js" */

export const SUBPROTOCOL = "streamgen.v1";
export const HEADER_BYTES = 48;
export const KIND = Object.freeze({ input: 1, output: 2, snapshot: 3 });
export const CODEC = Object.freeze({ jpeg: 1, raw: 2, png: 3 });
export const FLAG = Object.freeze({ gapBefore: 1, warmUp: 2 });

/** Every state and what each event makes of it; an event that is not listed changes nothing.
 * @type {Readonly<Record<State, Partial<Record<Event, State>>>>} */
export const STATES = Object.freeze({
  connecting: { welcome: "open", lost: "reconnecting", end: "closed" },
  open: { lost: "reconnecting", end: "closed" },
  reconnecting: { retry: "connecting", end: "closed" },
  closed: {},
});

/** Close codes after which the same connection would only fail again. */
export const FINAL_CODES = Object.freeze([1000, 4400, 4401, 4403, 4409]);

const MAX_PIXELS = 4_000_000;
const MIN_BACKOFF_MS = 500;
const PROBE_MS = 5_000;
const SENT_TIMES_KEPT = 64;

/** A failure with the stable `code` of docs/protocol.md. */
export class StreamError extends Error {
  /** @param {string} code @param {string} message @param {{field?: string | null, retryable?: boolean}} [more] */
  constructor(code, message, { field = null, retryable = false } = {}) {
    super(message);
    this.name = "StreamError";
    this.code = code;
    this.field = field;
    this.retryable = retryable;
  }
}

/** One binary message: the 48-byte header, then the picture.
 * @param {HeaderFields} header @param {ArrayBuffer | Uint8Array} picture @returns {Uint8Array<ArrayBuffer>} */
export function packFrame(header, picture) {
  const message = new Uint8Array(HEADER_BYTES + picture.byteLength);
  const view = new DataView(message.buffer);
  message.set([0x53, 0x47, 1, header.kind, header.codec, header.flags ?? 0]);
  view.setUint16(6, HEADER_BYTES, true);
  view.setUint32(8, header.seq, true);
  view.setUint32(12, header.sourceSeq ?? 0, true);
  view.setUint32(16, header.settingsRev ?? 0, true);
  view.setUint16(20, header.width, true);
  view.setUint16(22, header.height, true);
  view.setBigUint64(24, BigInt(Math.round(header.capturedUs ?? 0)), true);
  view.setUint32(32, header.queueUs ?? 0, true);
  view.setUint32(36, header.engineUs ?? 0, true);
  view.setUint32(40, header.encodeUs ?? 0, true);
  message.set(asBytes(picture), HEADER_BYTES);
  return message;
}

/** @template {ArrayBufferLike} T @param {ArrayBuffer | Uint8Array<T>} data */
const asBytes = (data) => (data instanceof ArrayBuffer ? new Uint8Array(data) : data);

/** Split a binary message into its header and a view of its picture; throws a StreamError.
 * @param {ArrayBuffer | Uint8Array<ArrayBuffer>} message @returns {{header: Header, picture: Uint8Array<ArrayBuffer>}} */
export function parseFrame(message) {
  const bytes = asBytes(message);
  if (bytes.length < HEADER_BYTES) throw new StreamError("truncated_header", `a header has 48 bytes, got ${bytes.length}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint16(6, true);
  const header = {
    kind: bytes[3],
    codec: bytes[4],
    flags: bytes[5],
    seq: view.getUint32(8, true),
    sourceSeq: view.getUint32(12, true),
    settingsRev: view.getUint32(16, true),
    width: view.getUint16(20, true),
    height: view.getUint16(22, true),
    capturedUs: Number(view.getBigUint64(24, true)),
    queueUs: view.getUint32(32, true),
    engineUs: view.getUint32(36, true),
    encodeUs: view.getUint32(40, true),
  };
  checkHeader(bytes, length, header);
  return { header, picture: bytes.subarray(length) };
}

/** @param {Uint8Array} bytes @param {number} length @param {Header} header */
function checkHeader(bytes, length, { kind, codec, width, height }) {
  /** @type {(field: string, code: string, fact: string) => never} */
  const refuse = (field, code, fact) => {
    throw new StreamError(code, fact, { field });
  };
  if (bytes[0] !== 0x53 || bytes[1] !== 0x47) refuse("magic", "bad_magic", "a frame starts with SG");
  if (bytes[2] !== 1) refuse("version", "unsupported_version", `this is version 1, got ${bytes[2]}`);
  if (length < HEADER_BYTES || length > bytes.length)
    refuse("header_length", "bad_header_length", `header_length must be 48 to ${bytes.length}, got ${length}`);
  if (kind < 1 || kind > 3) refuse("kind", "unknown_kind", `kind must be 1 to 3, got ${kind}`);
  if (codec < 1 || codec > 3) refuse("codec", "unknown_codec", `codec must be 1 to 3, got ${codec}`);
  if (!width || !height) refuse("width", "bad_size", `a side must be at least 1, got ${width}x${height}`);
  if (width * height > MAX_PIXELS) refuse("width", "frame_too_large", `over ${MAX_PIXELS} pixels: ${width}x${height}`);
  if (length === bytes.length) refuse("payload", "empty_payload", "a frame needs a picture behind its header");
}

/** Apply `changes` as the server does: a new prompt alone ends a blend.
 * @param {Settings} current @param {Settings} changes @returns {Settings} */
export function mergeSettings(current, changes) {
  const ended = "prompt" in changes && !("prompts_blend" in changes);
  return { ...current, ...(ended && "prompts_blend" in current ? { prompts_blend: [] } : {}), ...changes };
}

/** Connect to a server's `/ws`. Call `close()` when done; until then it reconnects by itself.
 * @param {string | URL} url @param {Options} [options] @returns {Stream} */
export function connect(url, options = {}) {
  return new Stream(String(url), options);
}

/** @typedef {{resolve: (value: any) => void, reject: (error: StreamError) => void, promise: Promise<any>}} Deferred */

/** @returns {Deferred} */
function deferred() {
  /** @type {Partial<Deferred>} */
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  made.promise.catch(() => {}); // a caller may ignore it: onError hears of it too
  return /** @type {Deferred} */ (made);
}

/** One session, over as many connections as it takes. Made by `connect`. */
export class Stream {
  /** @type {State} */ #state = "connecting";
  /** @type {any} */ #socket = null;
  /** @type {Welcome | null} */ #welcome = null;
  /** @type {string | undefined} */ #resumeToken;
  /** @type {Settings} the server's truth, as last heard */ #settings;
  /** @type {Partial<Format> | undefined} */ #format;
  /** @type {{patch: Settings, answer: Deferred} | null} */ #updateInFlight = null;
  /** @type {{patch: Settings, answer: Deferred} | null} the newest settings not yet sent */ #updateNext = null;
  /** @type {Map<string, Deferred>} */ #requests = new Map();
  /** @type {{answer: Deferred, seq: number} | null} announced; its picture comes next */ #snapshot = null;
  /** @type {InputFrame | null} the newest frame not yet sent */ #unsent = null;
  /** @type {Output | null} the newest output not yet painted */ #unpainted = null;
  #painting = false;
  /** @type {number[]} */ #inFlight = [];
  /** @type {Map<number, number>} */ #sentMs = new Map();
  #credits = 2;
  #seq = 0;
  #refs = 0;
  #attempt = 0;
  #paused = false;
  #probing = false;
  #heardMs = 0;
  /** @type {any} */ #retryTimer = null;
  /** @type {any} */ #probeTimer = null;
  /** Frames since `connect`: sent, replaced by a newer one before they could be sent, and outputs received. */
  counters = { sent: 0, replaced: 0, received: 0 };

  /** @param {string} url @param {Options} options */
  constructor(url, options) {
    this.#resumeToken = options.resume;
    this.#settings = options.settings ?? {};
    this.#format = options.format;
    this.url = url;
    this.options = {
      comesBack: (/** @type {number} */ code) => !FINAL_CODES.includes(code),
      now: () => performance.timeOrigin + performance.now(),
      random: Math.random,
      setTimeout: (/** @type {() => void} */ run, /** @type {number} */ ms) => globalThis.setTimeout(run, ms),
      clearTimeout: (/** @type {any} */ timer) => globalThis.clearTimeout(timer),
      WebSocket: globalThis.WebSocket,
      ...options,
    };
    this.#open();
  }

  /** @returns {State} */
  get state() {
    return this.#state;
  }
  /** The session's name; undefined before the first welcome unless it was asked for. */
  get session() {
    return this.#welcome?.session ?? this.options.session;
  }
  get welcome() {
    return this.#welcome;
  }
  get settings() {
    return this.#settings;
  }
  get paused() {
    return this.#paused;
  }
  /** True when a frame would be sent at once: encode one then, and not before. */
  get ready() {
    return this.#state === "open" && !this.#paused && this.#inFlight.length < this.#credits;
  }

  /** Send a frame now, or remember it as the newest one; returns its `seq`, or null while it waits or is dropped.
   * @param {InputFrame} frame @returns {number | null} */
  send(frame) {
    if (this.#state !== "open") return null;
    if (!this.ready) {
      if (this.#unsent) this.counters.replaced += 1;
      this.#unsent = frame;
      return null;
    }
    const seq = this.#seq++;
    const codec = CODEC[frame.codec ?? "jpeg"];
    const sentMs = this.options.now();
    const { width, height, capturedUs = sentMs * 1000 } = frame;
    this.#socket.send(packFrame({ kind: KIND.input, codec, width, height, seq, sourceSeq: seq, capturedUs }, frame.data));
    this.#inFlight.push(seq);
    this.#sentMs.set(seq, sentMs);
    if (this.#sentMs.size > SENT_TIMES_KEPT) this.#sentMs.delete(this.#sentMs.keys().next().value ?? 0);
    this.counters.sent += 1;
    return seq;
  }

  /** Change live settings. One update is under way at a time; what is asked for meanwhile goes as one more.
   * @param {Settings} patch @returns {Promise<Updated>} */
  update(patch) {
    this.#updateNext ??= { patch: {}, answer: deferred() };
    this.#updateNext.patch = mergeSettings(this.#updateNext.patch, patch);
    const { promise } = this.#updateNext.answer;
    if (this.#state === "closed") this.#updateNext.answer.reject(new StreamError("closed", "the stream is closed"));
    this.#flushUpdate();
    return promise;
  }

  /** Publisher: stop computing. Viewer: stop receiving. @returns {Promise<unknown>} */
  pause() {
    this.#paused = true;
    this.#unsent = null;
    return this.#state === "open" ? this.#request("pause") : Promise.resolve();
  }

  /** End a pause. @returns {Promise<unknown>} */
  resume() {
    this.#paused = false;
    return this.#state === "open" ? this.#request("resume") : Promise.resolve();
  }

  /** The newest output, losslessly. @returns {Promise<Snapshot>} */
  snapshot() {
    return this.#request("snapshot");
  }

  /** The server's counters of this session. @returns {Promise<Stats>} */
  stats() {
    return this.#request("stats");
  }

  /** Change the output's size or fit: the session is taken over by a new connection with that format.
   * @param {Partial<Format>} format */
  reformat(format) {
    this.#format = { ...this.#format, ...format };
    if (!this.#socket) return; // the next connection carries it
    this.#drop("reformat")?.close(1000);
    this.#become("lost", {});
    this.#become("retry", {});
    this.#open();
  }

  /** Skip the rest of a wait for the next reconnection. */
  retryNow() {
    if (this.#state !== "reconnecting") return;
    this.options.clearTimeout(this.#retryTimer);
    this.#become("retry", {});
    this.#open();
  }

  /** End the session (publisher) or leave it (viewer), for good. */
  close() {
    if (this.#state === "open") this.#post({ type: "bye" });
    this.options.clearTimeout(this.#retryTimer);
    this.#drop("closed")?.close(1000);
    this.#end({ code: 1000, reason: "" });
  }

  #open() {
    const socket = new this.options.WebSocket(this.url, SUBPROTOCOL);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket === this.#socket && this.#hello();
    socket.onmessage = (/** @type {{data: any}} */ event) => socket === this.#socket && this.#receive(event.data);
    socket.onclose = (/** @type {{code: number, reason: string}} */ event) =>
      socket === this.#socket && this.#lost(event.code, event.reason);
    this.#socket = socket;
    this.#heard();
    this.#probe();
  }

  #hello() {
    const { role = "publish", codec = "jpeg", client = "streamgen.js" } = this.options;
    const publish = role === "publish" ? { format: this.#format, settings: this.#settings, resume: this.#resumeToken } : {};
    this.#post({ type: "hello", role, session: this.session, codec, client, ...publish });
  }

  /** @param {{type: string, [field: string]: unknown}} message */
  #post(message) {
    this.#socket?.send(JSON.stringify(message));
  }

  /** @param {string} type @param {object} [fields] @returns {Promise<any>} */
  #request(type, fields = {}) {
    const answer = deferred();
    if (this.#state !== "open") {
      answer.reject(new StreamError("not_open", `${type} needs an open stream, it is ${this.#state}`, { retryable: true }));
      return answer.promise;
    }
    const ref = String(++this.#refs);
    this.#requests.set(ref, answer);
    this.#post({ type, ref, ...fields });
    return answer.promise;
  }

  /** @param {string | ArrayBuffer} data */
  #receive(data) {
    this.#heard();
    try {
      if (typeof data === "string") this.#control(JSON.parse(data));
      else this.#binary(parseFrame(data));
    } catch (error) {
      this.#report(error instanceof StreamError ? error : new StreamError("invalid_message", String(error)));
    }
  }

  /** @param {any} message */
  #control(message) {
    if (message.type === "welcome") this.#welcomed(message);
    else if (message.type === "ack") this.#acknowledged(message.seq);
    else if (message.type === "updated") this.#settings = message.settings;
    else if (message.type === "warning") this.options.onWarning?.(message);
    else if (message.type === "error") return this.#refused(message);
    else if (message.type === "snapshot_taken") {
      const answer = this.#requests.get(message.ref);
      if (answer) this.#snapshot = { answer, seq: message.seq };
      this.#requests.delete(message.ref);
      return;
    }
    this.#requests.get(message.ref)?.resolve(message);
    this.#requests.delete(message.ref);
    if (message.type === "updated") this.options.onUpdated?.(message);
  }

  /** @param {Welcome} welcome */
  #welcomed(welcome) {
    this.#welcome = welcome;
    this.#resumeToken = welcome.resume ?? undefined;
    this.#settings = welcome.settings;
    this.#credits = welcome.limits.credits;
    this.#attempt = 0;
    this.#become("welcome", {});
    this.options.onWelcome?.(welcome);
    if (this.#paused) this.pause();
    this.#flushUpdate();
    if (this.ready) this.options.onReady?.();
  }

  /** @param {{code: string, message: string, field?: string | null, retryable: boolean, ref?: string | null}} message */
  #refused(message) {
    const error = new StreamError(message.code, message.message, message);
    if (message.code === "bad_resume_token" && this.#resumeToken) {
      this.#resumeToken = undefined; // too late to take the session over: open it anew under its name
      this.#hello();
      return;
    }
    this.#requests.get(message.ref ?? "")?.reject(error);
    this.#requests.delete(message.ref ?? "");
    this.#report(error);
  }

  /** @param {StreamError} error */
  #report(error) {
    this.options.onError?.(error);
  }

  /** @param {number} seq stands for every earlier frame too */
  #acknowledged(seq) {
    this.#inFlight = this.#inFlight.filter((sent) => sent > seq);
    const frame = this.#unsent;
    this.#unsent = null;
    if (frame) this.send(frame);
    if (this.ready) this.options.onReady?.();
  }

  /** @param {{header: Header, picture: Uint8Array<ArrayBuffer>}} frame */
  #binary({ header, picture }) {
    if (header.kind === KIND.snapshot) {
      const { seq, width, height } = header;
      this.#snapshot?.answer.resolve({ seq, width, height, data: picture });
      this.#snapshot = null;
    } else if (header.kind === KIND.output) {
      const sentMs = this.#sentMs.get(header.sourceSeq) ?? null;
      for (const seq of this.#sentMs.keys()) if (seq <= header.sourceSeq) this.#sentMs.delete(seq);
      this.counters.received += 1;
      this.#paint({ ...header, data: picture, sentMs, receivedMs: this.#heardMs });
    }
  }

  /** Hand outputs over one at a time; of those that come meanwhile the newest waits. @param {Output} output */
  async #paint(output) {
    this.#unpainted = output;
    if (this.#painting) return;
    this.#painting = true;
    while (this.#unpainted) {
      const [next, socket] = [this.#unpainted, this.#socket];
      this.#unpainted = null;
      try {
        await this.options.onOutput?.(next);
      } catch (error) {
        this.#report(new StreamError("paint_failed", String(error)));
      }
      if (socket === this.#socket) this.#post({ type: "ack", seq: next.seq });
    }
    this.#painting = false;
  }

  #flushUpdate() {
    if (this.#state !== "open" || this.#updateInFlight || !this.#updateNext) return;
    const update = (this.#updateInFlight = this.#updateNext);
    this.#updateNext = null;
    const done = (/** @type {() => void} */ settle) => {
      if (this.#updateInFlight !== update) return;
      this.#updateInFlight = null;
      settle();
      this.#flushUpdate();
    };
    this.#request("update", { settings: update.patch }).then(
      (updated) => done(() => update.answer.resolve(updated)),
      (error) => done(() => update.answer.reject(error)),
    );
  }

  /** Forget the connection and what was in flight on it; an unanswered update is kept for the next one.
   * @param {string} reason @returns {any} the socket, still to be closed */
  #drop(reason) {
    const socket = this.#socket;
    this.#socket = null;
    this.options.clearTimeout(this.#probeTimer);
    this.#inFlight = [];
    this.#unsent = this.#unpainted = null;
    this.#sentMs.clear();
    this.#seq = 0;
    this.#keepUpdate();
    const error = new StreamError("connection_lost", `the connection was lost: ${reason}`, { retryable: true });
    for (const answer of this.#requests.values()) answer.reject(error);
    this.#snapshot?.answer.reject(error);
    this.#snapshot = null;
    this.#requests.clear();
    return socket;
  }

  #keepUpdate() {
    const lost = this.#updateInFlight;
    this.#updateInFlight = null;
    if (!lost) return;
    if (!this.#updateNext) this.#updateNext = lost;
    else {
      this.#updateNext.patch = mergeSettings(lost.patch, this.#updateNext.patch);
      this.#updateNext.answer.promise.then(lost.answer.resolve, lost.answer.reject);
    }
  }

  /** @param {number} code @param {string} reason */
  #lost(code, reason) {
    this.#drop(`${code} ${reason}`.trim());
    const { retries = Infinity, maxBackoffMs = 30_000, comesBack, random } = this.options;
    if (this.#attempt >= retries || !comesBack(code)) return this.#end({ code, reason });
    const delayMs = random() * Math.min(maxBackoffMs, MIN_BACKOFF_MS * 2 ** this.#attempt++);
    this.#become("lost", { code, reason, delayMs });
    this.#retryTimer = this.options.setTimeout(() => this.retryNow(), delayMs);
  }

  /** @param {StateDetail} detail */
  #end(detail) {
    this.#updateNext?.answer.reject(new StreamError("closed", "the stream is closed"));
    this.#become("end", detail);
  }

  /** @param {Event} event @param {StateDetail} detail */
  #become(event, detail) {
    const next = STATES[this.#state][event];
    if (!next) return;
    this.#state = next;
    this.options.onState?.(next, detail);
  }

  #heard() {
    this.#heardMs = this.options.now();
    this.#probing = false;
  }

  /** A browser cannot ping: ask for something when all is silent, and give the connection up if nothing comes. */
  #probe() {
    const socket = this.#socket;
    this.#probeTimer = this.options.setTimeout(() => {
      if (socket !== this.#socket) return;
      if (this.#probing) {
        socket.close();
        return this.#lost(1006, "no answer");
      }
      if (this.options.now() - this.#heardMs >= PROBE_MS && this.#state === "open") {
        this.#probing = true;
        this.#post({ type: "stats" });
      }
      this.#probe();
    }, PROBE_MS);
  }
}
