// streamgen.js: publish video to a streamgen session, or view one. One file, no dependencies, browser or node.
// docs/javascript.md shows how to use it; docs/protocol.md is the wire format it speaks.

/** @import {Event, Format, Header, HeaderFields, InputFrame, Options, Output, Reformatted, Settings, Snapshot, State,
 *   StateDetail, Stats, Switched, Updated, Welcome} from "./types.js" */

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

/** Of a reference picture: in base64 it has to fit into a text message of 65,536 characters. */
export const MAX_REFERENCE_BYTES = 48_000;

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

/** In base64: standard alphabet, padded. @param {ArrayBuffer | Uint8Array} data */
export const toBase64 = (data) => btoa(Array.from(asBytes(data), (byte) => String.fromCharCode(byte)).join(""));

/** Split a binary message into its header and a view of its picture; throws a StreamError.
 * @param {ArrayBuffer | Uint8Array<ArrayBuffer>} message
 * @returns {{header: Header, picture: Uint8Array<ArrayBuffer>}} */
export function parseFrame(message) {
  const bytes = asBytes(message);
  if (bytes.length < HEADER_BYTES) throw new StreamError("truncated_header", `got ${bytes.length} of 48 bytes`);
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

/** What lives and dies with one connection. */
class Link {
  /** @type {number[]} sent, not yet acknowledged */ inFlight = [];
  /** @type {Map<number, {sentMs: number, capturedUs: number}>} by seq, until its output comes */ sent = new Map();
  /** @type {InputFrame | null} the newest frame not yet sent */ unsent = null;
  /** @type {Output | null} the newest output not yet painted */ unpainted = null;
  /** @type {Map<string, Deferred>} by ref */ requests = new Map();
  /** @type {Deferred | null} an announced snapshot whose picture comes next */ snapshot = null;
  seq = 0;
  painting = false;
  probing = false;
  heardMs = 0;

  /** @param {any} socket */
  constructor(socket) {
    this.socket = socket;
  }
}

/** When the frame was sent that this output was made from; null when this client did not send it. A prompt stream
 * counts its outputs itself, so the time of capture has to fit too. @param {Link} link @param {Header} output */
function sentMs({ sent }, { sourceSeq, capturedUs }) {
  const frame = sent.get(sourceSeq);
  if (frame?.capturedUs !== capturedUs) return null;
  for (const seq of sent.keys()) if (seq <= sourceSeq) sent.delete(seq);
  return frame.sentMs;
}

/** One session, over as many connections as it takes. Made by `connect`. */
export class Stream {
  /** @type {State} */ #state = "connecting";
  /** @type {Link | null} */ #link = null;
  /** @type {Welcome | null} */ #welcome = null;
  /** @type {string | undefined} */ #token;
  /** @type {Settings} in force on the server, as last heard */ #settings;
  /** @type {Partial<Format> | undefined} */ #format;
  /** @type {{patch: Settings, answer: Deferred} | null} sent, not yet answered */ #updating = null;
  /** @type {{patch: Settings, answer: Deferred} | null} the newest settings not yet sent */ #update = null;
  #reformat = new Wish("reformat");
  #reference = new Wish("reference");
  /** @type {any} */ #retryTimer = null;
  #paused = false;
  #attempt = 0;
  #refs = 0;
  /** Frames sent, replaced by a newer one before they could be sent, and outputs received; since `connect`. */
  counters = { sent: 0, replaced: 0, received: 0 };

  /** @param {string} url @param {Options} options */
  constructor(url, options) {
    this.url = url;
    this.options = {
      comesBack: (/** @type {number} */ code) => !FINAL_CODES.includes(code),
      now: () => performance.timeOrigin + performance.now(),
      random: Math.random,
      setTimeout: (/** @type {() => void} */ run, /** @type {number} */ ms) => globalThis.setTimeout(run, ms),
      clearTimeout: (/** @type {any} */ timer) => globalThis.clearTimeout(timer),
      WebSocket: globalThis.WebSocket,
      ...options,
      onError: options.onError ?? (({ code, message }) => console.warn(`streamgen: ${code}: ${message}`)),
    };
    this.#token = options.resume;
    this.#settings = options.settings ?? {};
    this.#format = options.format;
    this.#open();
  }

  /** @returns {State} */
  get state() { return this.#state; }
  /** The session's name; before the first welcome the one asked for. */
  get session() { return this.#welcome?.session ?? this.options.session; }
  get welcome() { return this.#welcome; }
  get settings() { return this.#settings; }
  get format() { return this.#welcome?.format; }
  get paused() { return this.#paused; }
  /** True when a frame would be sent at once: encode one then, and not before. */
  get ready() {
    const credits = this.#welcome?.limits.credits ?? 0;
    return this.#state === "open" && !this.#paused && (this.#link?.inFlight.length ?? credits) < credits;
  }

  /** Send a frame now, or remember it as the newest one; returns its `seq`, or null when it was not sent yet.
   * Without an open stream a frame is dropped: it would be old by the time there is one.
   * @param {InputFrame} frame @returns {number | null} */
  send(frame) {
    const link = this.#link;
    if (!link || this.#state !== "open" || this.#paused) return null;
    if (!this.ready) {
      if (link.unsent) this.counters.replaced += 1;
      link.unsent = frame;
      return null;
    }
    const seq = link.seq++;
    const sentMs = this.options.now();
    const { data, width, height, capturedUs = sentMs * 1000, codec = "jpeg" } = frame;
    const header = { kind: KIND.input, codec: CODEC[codec], width, height, seq, sourceSeq: seq, capturedUs };
    link.socket.send(packFrame(header, data));
    link.inFlight.push(seq);
    link.sent.set(seq, { sentMs, capturedUs: Math.round(capturedUs) });
    if (link.sent.size > SENT_TIMES_KEPT) link.sent.delete(seq - SENT_TIMES_KEPT);
    this.counters.sent += 1;
    return seq;
  }

  /** Change live settings. One update is under way at a time; what is asked for meanwhile goes as one more.
   * @param {Settings} patch @returns {Promise<Updated>} */
  update(patch) {
    const answer = this.#update?.answer ?? deferred();
    if (this.#state === "closed") answer.reject(new StreamError("closed", "the stream is closed"));
    this.#update = { patch: mergeSettings(this.#update?.patch ?? {}, patch), answer };
    this.#sendUpdate();
    return answer.promise;
  }

  /** Change the output's size or fit; resolves once outputs of the new format follow, until then the old ones come. A
   * newer call stands in for one that is under way, which is answered with it.
   * @param {Partial<Format>} format @returns {Promise<Reformatted>} */
  reformat(format) {
    return this.#wish(this.#reformat, { format: { ...this.#reformat.fields?.format, ...format } });
  }

  /** Steer by this picture, or by none; resolves once it is so. It stays until another one comes, over lost connections
   * too. A newer call stands in for one that is under way. reference.js makes any picture small enough.
   * @param {ArrayBuffer | Uint8Array | null} jpeg sides of 16 to 1,024 pixels, at most `MAX_REFERENCE_BYTES`
   * @returns {Promise<unknown>} */
  reference(jpeg) {
    const bytes = jpeg?.byteLength ?? 0;
    const fact = `a reference picture has at most ${MAX_REFERENCE_BYTES} bytes, got ${bytes}`;
    if (bytes > MAX_REFERENCE_BYTES) return Promise.reject(new StreamError("bad_image", fact, { field: "image" }));
    return this.#wish(this.#reference, { image: jpeg && toBase64(jpeg) });
  }

  /** Have the server load another of `welcome.models`, for every session it serves; that may take minutes, and the old
   * one goes on until then. @param {string} model @param {readonly string[]} [loras] which of its LoRAs; else all
   * @returns {Promise<Switched>} */
  switchModel(model, loras) {
    return this.#request("switch", loras === undefined ? { model } : { model, loras });
  }

  /** Publisher: stop computing. Viewer: stop receiving. @returns {Promise<unknown>} */
  pause() {
    this.#paused = true;
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

  /** Reconnect now instead of after the wait. */
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
    this.#drop("closed");
    this.#end({ code: 1000, reason: "" });
  }

  #open() {
    const socket = new this.options.WebSocket(this.url, SUBPROTOCOL);
    const link = new Link(socket);
    const current = () => link === this.#link;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => current() && this.#hello();
    socket.onmessage = (/** @type {{data: any}} */ event) => current() && this.#receive(link, event.data);
    socket.onclose = (/** @type {{code: number, reason: string}} */ event) =>
      current() && this.#lost(event.code, event.reason);
    this.#link = link;
    this.#probe(link);
  }

  #hello() {
    const { role = "publish", codec = "jpeg", client = "streamgen.js" } = this.options;
    const own = { format: this.#format, settings: this.#settings, resume: this.#token };
    this.#post({ type: "hello", role, session: this.session, codec, client, ...(role === "publish" ? own : {}) });
  }

  /** @param {{type: string, [field: string]: unknown}} message */
  #post(message) {
    this.#link?.socket.send(JSON.stringify(message));
  }

  /** @param {string} type @param {object} [fields] @returns {Promise<any>} */
  #request(type, fields = {}) {
    const answer = deferred();
    const ref = String(++this.#refs);
    if (this.#state === "open") {
      this.#link?.requests.set(ref, answer);
      this.#post({ type, ref, ...fields });
    } else answer.reject(new StreamError("not_open", `${type} needs an open stream, it is ${this.#state}`));
    return answer.promise;
  }

  /** @param {Link} link @param {string | ArrayBuffer} data */
  #receive(link, data) {
    link.heardMs = this.options.now();
    link.probing = false;
    try {
      if (typeof data === "string") this.#control(link, JSON.parse(data));
      else this.#picture(link, parseFrame(data));
    } catch (error) {
      this.options.onError?.(error instanceof StreamError ? error : new StreamError("invalid_message", String(error)));
    }
  }

  /** @param {Link} link @param {any} message */
  #control(link, message) {
    const request = link.requests.get(message.ref);
    link.requests.delete(message.ref);
    if (message.type === "error") return this.#refused(message, request);
    if (message.type === "snapshot_taken") link.snapshot = request ?? null;
    else request?.resolve(message);
    if (message.type === "welcome") this.#welcomed(message);
    else if (message.type === "ack") this.#acknowledged(link, message.seq);
    else if (message.type === "warning") this.options.onWarning?.(message);
    else if (message.type === "updated") this.#updated(message);
    else if (message.type === "reformatted") this.#reformatted(message);
    else if (message.type === "switched") this.#switched(message);
  }

  /** @param {Welcome} welcome */
  #welcomed(welcome) {
    this.#welcome = welcome;
    this.#token = welcome.resume ?? undefined;
    this.#settings = welcome.settings;
    this.#format = welcome.format;
    this.#attempt = 0;
    this.#become("welcome", {});
    if (!welcome.resumed) this.#restoreReference();
    this.options.onWelcome?.(welcome);
    if (this.#paused) this.pause();
    this.#sendUpdate();
    this.#sendWish(this.#reformat);
    this.#sendWish(this.#reference);
    if (this.ready) this.options.onReady?.();
  }

  /** @param {Updated} updated */
  #updated(updated) {
    this.#settings = updated.settings;
    this.options.onUpdated?.(updated);
  }

  /** @param {Reformatted} reformatted */
  #reformatted(reformatted) {
    this.#format = reformatted.format;
    this.#learn({ format: reformatted.format });
    this.options.onReformatted?.(reformatted);
  }

  /** @param {Switched} switched */
  #switched(switched) {
    const { model, styles, unused, loras, reference } = switched;
    this.#learn({ model, styles, unused, loras, reference });
    this.options.onSwitched?.(switched);
    this.#sendWish(this.#reference);
  }

  /** Keep `welcome` as things are now. @param {Partial<Welcome>} facts */
  #learn(facts) {
    if (this.#welcome) this.#welcome = { ...this.#welcome, ...facts };
  }

  /** @param {{code: string, message: string, field?: string, retryable?: boolean}} message
   * @param {Deferred | undefined} request */
  #refused(message, request) {
    if (message.code === "bad_resume_token" && this.#token) {
      this.#token = undefined; // too late to take the session over: open it anew under its name
      return this.#hello();
    }
    const error = new StreamError(message.code, message.message, message);
    request?.reject(error);
    if (message.code === "superseded") return; // by a newer one, whose answer is this one's too
    this.options.onError?.(error);
  }

  /** @param {Link} link @param {number} seq stands for every earlier frame too */
  #acknowledged(link, seq) {
    link.inFlight = link.inFlight.filter((sent) => sent > seq);
    const frame = link.unsent;
    link.unsent = null;
    if (frame) this.send(frame);
    if (this.ready) this.options.onReady?.();
  }

  /** @param {Link} link @param {{header: Header, picture: Uint8Array<ArrayBuffer>}} frame */
  #picture(link, { header, picture }) {
    if (header.kind === KIND.snapshot) {
      const { seq, width, height } = header;
      link.snapshot?.resolve({ seq, width, height, data: picture });
      link.snapshot = null;
    } else if (header.kind === KIND.output) {
      this.counters.received += 1;
      link.unpainted = { ...header, data: picture, sentMs: sentMs(link, header), receivedMs: link.heardMs };
      if (!link.painting) void this.#paint(link);
    }
  }

  /** Hand outputs over one at a time; of those that come meanwhile the newest waits. @param {Link} link */
  async #paint(link) {
    link.painting = true;
    while (link.unpainted && link === this.#link) {
      const output = link.unpainted;
      link.unpainted = null;
      try {
        await this.options.onOutput?.(output);
      } catch (error) {
        this.options.onError?.(new StreamError("paint_failed", String(error)));
      }
      if (link === this.#link) this.#post({ type: "ack", seq: output.seq });
    }
    link.painting = false;
  }

  #sendUpdate() {
    const update = this.#update;
    if (this.#state !== "open" || this.#updating || !update) return;
    this.#updating = update;
    this.#update = null;
    /** @type {(settle: (answer: any) => void) => (answer: any) => void} */
    const then = (settle) => (answer) => {
      if (this.#updating !== update) return; // the connection was lost, and the update waits for the next one
      this.#updating = null;
      settle(answer);
      this.#sendUpdate();
    };
    this.#request("update", { settings: update.patch }).then(then(update.answer.resolve), then(update.answer.reject));
  }

  /** @param {Wish} wish @param {Record<string, any>} fields @returns {Promise<any>} */
  #wish(wish, fields) {
    const answer = wish.ask(fields);
    if (this.#state === "closed") answer.reject(new StreamError("closed", "the stream is closed"));
    this.#sendWish(wish);
    return answer.promise;
  }

  /** @param {Wish} wish */
  #sendWish(wish) {
    const { fields, answer } = wish;
    if (this.#state !== "open" || !fields || wish.sent || (wish.held && !this.#welcome?.reference)) return;
    wish.sent = true;
    /** @type {(settle: ((result: any) => void) | undefined) => (result: any) => void} */
    const then = (settle) => (result) => {
      if (wish.fields !== fields) return; // a newer one stands in for it
      wish.fields = wish.answer = null;
      settle?.(result);
    };
    const request = this.#request(wish.type, fields);
    request.then(() => (wish.inForce = fields), () => {});
    request.then(then(answer?.resolve), then(answer?.reject));
  }

  /** A session that was opened anew has no reference picture: ask for the last one, once the model takes any. */
  #restoreReference() {
    const { fields, inForce } = this.#reference;
    if (!fields && inForce?.image) this.#reference.ask(inForce, true);
  }

  /** Forget the connection and what was in flight on it; unanswered changes go again on the next one.
   * @param {string} reason */
  #drop(reason) {
    const link = this.#link;
    const [older, newer] = [this.#updating, this.#update];
    this.#link = this.#updating = null;
    if (older) this.#update = { patch: mergeSettings(older.patch, newer?.patch ?? {}), answer: older.answer };
    if (older && newer) older.answer.promise.then(newer.answer.resolve, newer.answer.reject);
    this.#reformat.again();
    this.#reference.again();
    const error = new StreamError("connection_lost", `the connection was lost: ${reason}`, { retryable: true });
    for (const request of link?.requests.values() ?? []) request.reject(error);
    link?.snapshot?.reject(error);
    link?.socket.close(1000);
  }

  /** @param {number} code @param {string} reason */
  #lost(code, reason) {
    this.#drop(`${code} ${reason}`.trim());
    const { retries = Infinity, maxBackoffMs = 30_000, comesBack, random } = this.options;
    if (this.#attempt >= retries || !comesBack(code)) return this.#end({ code, reason });
    const delayMs = random() * Math.min(maxBackoffMs, MIN_BACKOFF_MS * 2 ** this.#attempt++);
    this.#retryTimer = this.options.setTimeout(() => this.retryNow(), delayMs);
    this.#become("lost", { code, reason, delayMs });
  }

  /** @param {StateDetail} detail */
  #end(detail) {
    const closed = new StreamError("closed", "the stream is closed");
    this.#update?.answer.reject(closed);
    this.#reformat.answer?.reject(closed);
    this.#reference.answer?.reject(closed);
    this.#become("end", detail);
  }

  /** @param {Event} event @param {StateDetail} detail */
  #become(event, detail) {
    const next = STATES[this.#state][event];
    if (!next) return;
    this.#state = next;
    this.options.onState?.(next, detail);
  }

  /** A browser cannot ping: when all is silent, ask for something, and give the connection up if nothing comes.
   * @param {Link} link */
  #probe(link) {
    this.options.setTimeout(() => {
      if (link !== this.#link) return;
      if (link.probing) return this.#lost(1006, "no answer");
      if (this.#state === "open" && this.options.now() - link.heardMs >= PROBE_MS) {
        link.probing = true;
        this.#post({ type: "stats" });
      }
      this.#probe(link);
    }, PROBE_MS);
  }
}
