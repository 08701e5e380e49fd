// A stream: one session, over as many connections as it takes, whatever carries them.

import { Changes, deferred } from "./changes.js";
import { Comeback } from "./comeback.js";
import { Dialler, socketUrl, withDefaults } from "./dial.js";
import { closedError, ProtocolError, SessionError, StreamgenError, typedError } from "./errors.js";
import { Heartbeat, PULSES } from "./heartbeat.js";
import { Link, Painter } from "./link.js";
import { Session } from "./session.js";
import { STATES } from "./states.js";
import { Counter } from "./statistics.js";
import { TokenSource } from "./token.js";
import { TransportChoice } from "./transport.js";
import { CODEC, FLAG, KIND, packFrame } from "./wire.js";

/** @import {Deferred} from "./changes.js" */
/** @import {Closed, Event, Format, InputFrame, Options, Output, Reformatted, Settings, Snapshot, State, StateDetail,
 *   Statistics, Stats, Socket, Switched, Transport, TransportWish, Updated, Welcome} from "./types.js" */

/** Connect to a server's `/ws`. Call `close()` when done; until then it reconnects by itself.
 * @param {string | URL} url in a page also one relative to it @param {Options} [options] @returns {Stream} */
export function connect(url, options = {}) {
  return new Stream(socketUrl(url), options);
}

/** Made by `connect`. */
export class Stream {
  /** @type {State} */ #state = "connecting";
  /** @type {Link | null} */ #link = null;
  /** @type {Session} */ #session;
  /** @type {MediaStreamTrack | null | undefined} */ #track;
  /** @type {Transport} */ #transport;
  #choice = new TransportChoice("auto", () => this.#unfit());
  #changes = new Changes(this, (type, fields) => this.#request(type, fields));
  /** @type {any} */ #retryTimer = null;
  #paused = false;
  #comeback;
  #dialler;
  #refs = 0;
  #counter = new Counter();

  /** @param {string} url @param {Options} options */
  constructor(url, options) {
    this.url = url;
    this.options = withDefaults(options);
    const tokens = new TokenSource(options.token);
    this.#dialler = new Dialler(url, this.options, tokens);
    this.#comeback = new Comeback(this.options, tokens);
    this.#session = new Session(options);
    this.#track = options.track;
    this.#choice.ask(options.transport ?? "auto");
    this.#transport = this.#choice.now;
    this.#open();
  }

  /** @returns {State} */
  get state() { return this.#state; }
  /** The session's name; before the first welcome the one asked for. */
  get session() { return this.#session.name; }
  get welcome() { return this.#session.welcome; }
  get settings() { return this.#session.settings; }
  get format() { return this.welcome?.format; }
  get paused() { return this.#paused; }
  /** What carries the present connection, or tries to, and why. */
  get transport() { return this.#transport; }
  /** From here to the server and back, as last measured; null before. */
  get roundTripMs() { return this.#link?.heartbeat?.roundTripMs ?? null; }
  /** Counted and measured here; `stats()` asks the server for its own. @returns {Statistics} */
  get statistics() { return this.#counter.report(this.options.now(), this.roundTripMs); }
  /** Of WebRTC, for its statistics; null without. */
  get peerConnection() { return this.#link?.socket.peer ?? null; }
  /** True when a frame would be sent at once: encode one then, and not before. */
  get ready() {
    const credits = this.welcome?.limits.credits ?? 0;
    const takes = this.#state === "open" && !this.#paused && this.#transport.kind === "websocket";
    return takes && (this.#link?.inFlight.length ?? credits) < credits;
  }

  /** Send a frame now, or remember it as the newest one; returns its `seq`, or null when it was not sent yet.
   * Without an open stream a frame is dropped: it would be old by the time there is one. WebRTC sends the track instead.
   * @param {InputFrame} frame @returns {number | null} */
  send(frame) {
    const link = this.#link;
    if (!link || this.#state !== "open" || this.#paused || this.#transport.kind === "webrtc") return null;
    if (!this.ready) {
      if (link.unsent) this.#counter.replaced += 1;
      link.unsent = frame;
      return null;
    }
    const sentMs = this.options.now();
    const { data, width, height, capturedUs = sentMs * 1000, codec = "jpeg" } = frame;
    const seq = link.sending(sentMs, capturedUs);
    const header = { kind: KIND.input, codec: CODEC[codec], width, height, seq, sourceSeq: seq, capturedUs };
    link.socket.send(packFrame(header, data));
    this.#counter.sent += 1;
    return seq;
  }

  /** Send another track, or none, over WebRTC: from now on where that is in use, else as soon as it is.
   * @param {MediaStreamTrack | null} track */
  async replaceTrack(track) {
    this.#track = track;
    await this.#link?.socket.replaceTrack?.(track);
  }

  /** Go on over another transport; `auto` tries WebRTC again. The session and its settings stay.
   * @param {TransportWish} wish */
  useTransport(wish) {
    const differs = this.#choice.ask(wish);
    if (this.#state === "closed") return;
    if (differs) this.#move("another transport was asked for");
    else this.#transport = this.#choice.now;
    if (this.#state === "open") this.#tellTransport();
  }

  /** Change live settings. One update is under way at a time; what is asked for meanwhile goes as one more.
   * @param {Settings} patch @returns {Promise<Updated>} */
  update(patch) {
    return this.#changes.update(patch);
  }

  /** Change the output's size or fit; resolves once outputs of the new format follow, until then the old ones come. A
   * newer call stands in for one that is under way, which is answered with it.
   * @param {Partial<Format>} format @returns {Promise<Reformatted>} */
  reformat(format) {
    return this.#changes.reformat(format);
  }

  /** Steer by this picture, or by none; resolves once it is so. It stays until another one comes, over lost connections
   * too. A newer call stands in for one that is under way. reference.js makes any picture small enough.
   * @param {ArrayBuffer | Uint8Array | null} jpeg sides of 16 to 1,024 pixels, at most `MAX_REFERENCE_BYTES`
   * @returns {Promise<unknown>} */
  reference(jpeg) {
    return this.#changes.reference(jpeg);
  }

  /** Have the server load another of `welcome.models`, for every session it serves; that may take minutes, and the old
   * one goes on until then. @param {string} model @param {readonly string[]} [loras] which of its LoRAs; else all
   * @returns {Promise<Switched>} */
  switch(model, loras) {
    return this.#request("switch", loras === undefined ? { model } : { model, loras });
  }

  /** Publisher: stop computing. Viewer: stop receiving. @returns {Promise<unknown>} */
  pause() {
    return this.#setPaused(true);
  }

  /** End a pause. @returns {Promise<unknown>} */
  resume() {
    return this.#setPaused(false);
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

  // -------------------------------------------------------------------------------------------------- the connection

  #open() {
    this.#transport = this.#choice.now;
    this.#dialler.dial(this.#transport.kind, this.#track ?? null, {
      dialled: (socket) => this.#take(socket),
      failed: (error) => this.#lost(error.retryable ? 1006 : 4401, error.message, error),
    });
  }

  /** @param {Socket} socket */
  #take(socket) {
    const painter = new Painter({
      paint: (output) => this.options.onOutput?.(output),
      painted: (output) => this.#painted(output),
      failed: (error) => this.options.onError?.(new StreamgenError("paint_failed", String(error))),
    });
    const link = new Link(socket, painter);
    const current = () => link === this.#link;
    socket.onopen = () => current() && this.#post(this.#session.hello);
    socket.onmessage = (event) => current() && this.#receive(link, event.data);
    socket.onclose = (closed) => current() && this.#closed(link, closed);
    socket.onoutput = (output) => current() && this.#output(link, output);
    socket.onstream = (stream, kind) => current() && this.options.onStream?.(stream, kind);
    this.#link = link;
  }

  /** Why WebRTC does not come into question; null when it does. */
  #unfit() {
    if (!this.options.RTCPeerConnection) return "this browser has no WebRTC";
    const { role = "publish" } = this.options;
    return role === "publish" && this.#track === undefined ? "frames are sent one by one" : null;
  }

  /** @param {{type: string, [field: string]: unknown}} message */
  #post(message) {
    this.#link?.socket.send(JSON.stringify(message));
  }

  /** @param {string} type @param {object} [fields] @returns {Promise<any>} */
  #request(type, fields = {}) {
    const [answer, ref] = [deferred(), String(++this.#refs)];
    if (this.#state === "open") {
      this.#link?.asked(ref, answer);
      this.#post({ type, ref, ...fields });
    } else answer.reject(new SessionError("not_open", `${type} needs an open stream, it is ${this.#state}`));
    return answer.promise;
  }

  /** @param {boolean} paused @returns {Promise<unknown>} */
  #setPaused(paused) {
    this.#paused = paused;
    this.#tune();
    return this.#state === "open" ? this.#request(paused ? "pause" : "resume") : Promise.resolve();
  }

  // ------------------------------------------------------------------------------------------------ what comes from it

  /** @param {Link} link @param {string | ArrayBuffer} data */
  #receive(link, data) {
    link.heartbeat?.heard();
    try {
      if (typeof data === "string") return this.#control(link, JSON.parse(data));
      const frame = link.received(data);
      if (!frame) return;
      const { header, picture } = frame;
      const times = { sentMs: link.sentMs(header), receivedMs: this.options.now() };
      this.#output(link, { ...header, data: picture, video: null, ...times });
    } catch (error) {
      this.options.onError?.(error instanceof StreamgenError ? error : new ProtocolError("invalid_message", String(error)));
    }
  }

  /** @param {Link} link @param {any} message */
  #control(link, message) {
    const request = link.answered(message);
    /** @type {Record<string, () => unknown>} */
    const does = {
      error: () => this.#refused(message, request),
      welcome: () => this.#welcomed(link, message),
      ack: () => this.#acknowledged(link, message.seq),
      output: () => link.socket.describe?.(message),
      ping: () => this.#post({ type: "pong", id: message.id }),
      pong: () => link.heartbeat?.answered(message.id),
      bye: () => link.ends(message),
      warning: () => this.options.onWarning?.(message),
      queued: () => this.options.onQueued?.(message),
      updated: () => this.#learned(this.#session.updated(message), this.options.onUpdated),
      reformatted: () => this.#learned(this.#session.reformatted(message), this.options.onReformatted),
      switched: () => this.#learned(this.#session.switched(message), this.options.onSwitched),
      restyled: () => this.#learned(this.#session.restyled(message), this.options.onRestyled),
    };
    does[message.type]?.();
  }

  /** @param {Link} link @param {Welcome} welcome */
  #welcomed(link, welcome) {
    this.#session.welcomed(welcome);
    this.#comeback.arrived();
    this.#counter.connections += 1;
    this.#choice.arrived();
    link.beat(new Heartbeat(PULSES[this.#transport.kind], this.options, {
      ask: (id) => this.#post({ type: "ping", id }),
      died: () => this.#lost(1006, "no answer"),
    }));
    this.#become("welcome", {});
    this.#tellTransport();
    if (welcome.role === "publish" && !welcome.resumed) this.#changes.restore();
    this.options.onWelcome?.(welcome);
    if (this.#paused) this.pause();
    else this.#tune();
    this.#changes.go();
    if (this.ready) this.options.onReady?.();
  }
  /** @template News @param {News} news @param {((news: News) => void) | undefined} tell */
  #learned(news, tell) {
    this.#tune();
    tell?.call(this.options, news);
    this.#changes.go(); // what waited for another model may be had of it
  }

  /** Send what is of use and no more. */
  #tune() {
    this.#link?.socket.tune?.({ ...this.#session.sending, paused: this.#paused });
  }

  #tellTransport() {
    const news = this.#choice.news(this.#transport);
    if (news) this.options.onTransport?.(news.kind, news.reason);
  }

  /** @param {{code: string, message: string, field?: string, retryable?: boolean}} message
   * @param {Deferred | undefined} request */
  #refused(message, request) {
    if (message.code === "bad_resume_token" && this.#session.resume) {
      this.#session.resume = undefined; // too late to take the session over: open it anew under its name
      return this.#post(this.#session.hello);
    }
    const error = typedError(message);
    request?.reject(error);
    if (message.code === "superseded") return; // by a newer one, whose answer is this one's too
    this.options.onError?.(error);
  }

  /** @param {Link} link @param {number} seq stands for every earlier frame too */
  #acknowledged(link, seq) {
    const frame = link.acknowledged(seq);
    if (frame) this.send(frame);
    if (this.ready) this.options.onReady?.();
  }

  /** @param {Link} link @param {Output} output */
  #output(link, output) {
    this.#counter.received += 1;
    const alpha = output.data || !this.#session.packed(output) ? 0 : FLAG.alpha;
    link.outputs.put({ ...output, flags: output.flags | alpha });
  }

  /** @param {Output} output */
  #painted({ seq, data, video, sentMs, capturedUs }) {
    if (data) this.#post({ type: "ack", seq }); // WebRTC paces itself
    const own = sentMs !== null || (video !== null && this.#session.sendsVideo);
    this.#counter.painted(this.options.now(), own ? capturedUs : null);
  }

  // ---------------------------------------------------------------------------------------------------- how it ends

  /** Forget the connection and what was in flight on it; unanswered changes go again on the next one.
   * @param {string} reason */
  #drop(reason) {
    const link = this.#link;
    this.#link = null;
    this.#dialler.cancel();
    this.#changes.lost();
    link?.fail(new SessionError("connection_lost", `the connection was lost: ${reason}`, { retryable: true }));
    link?.socket.close(1000);
  }

  /** @param {Link} link @param {Closed} closed */
  #closed(link, { code, reason, hindrance, resume }) {
    this.#session.resume = resume ?? this.#session.resume;
    if (hindrance && this.#choice.fallBack(reason, hindrance.certain)) return this.#move(reason);
    if (hindrance && !hindrance.told) {
      this.options.onError?.(new SessionError("webrtc_unavailable", reason, { retryable: true }));
    }
    this.#lost(link.endCode ?? code, reason, link.refusal);
  }

  /** Connect over the transport of choice at once. @param {string} reason */
  #move(reason) {
    this.options.clearTimeout(this.#retryTimer);
    this.#drop(reason);
    this.#become("move", { reason });
    this.#open();
  }

  /** @param {number} code @param {string} reason @param {StreamgenError} [why] */
  #lost(code, reason, why) {
    this.#drop(`${code} ${reason}`.trim());
    this.#choice.failed();
    const delayMs = this.#comeback.delayMs(code);
    const error = why ?? closedError(code, reason, delayMs !== null);
    if (delayMs === null) return this.#end({ code, reason, error });
    this.#retryTimer = this.options.setTimeout(() => this.retryNow(), delayMs);
    this.#become("lost", { code, reason, delayMs, error });
  }

  /** @param {StateDetail} detail */
  #end(detail) {
    this.#changes.close();
    this.#become("end", detail);
  }

  /** @param {Event} event @param {StateDetail} detail */
  #become(event, detail) {
    const next = STATES[this.#state][event];
    if (!next) return;
    this.#state = next;
    this.options.onState?.(next, detail);
  }
}
