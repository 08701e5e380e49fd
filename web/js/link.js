// What lives and dies with one connection: credits, frames on their way, requests without an answer. No I/O.

import { AccessError, typedError } from "./errors.js";
import { KIND, parseFrame } from "./wire.js";

/** @import {Deferred} from "./changes.js" */
/** @import {StreamgenError} from "./errors.js" */
/** @import {Heartbeat} from "./heartbeat.js" */
/** @import {Header, InputFrame, Output, Socket} from "./types.js" */

const SENT_TIMES_KEPT = 64;

export class Link {
  /** @type {number[]} sent, not yet acknowledged */ inFlight = [];
  /** @type {InputFrame | null} the newest frame not yet sent */ unsent = null;
  /** @type {Heartbeat | null} from the welcome on */ heartbeat = null;
  /** @type {Map<string, Deferred>} by ref */ #requests = new Map();
  /** @type {Map<number, {sentMs: number, capturedUs: number}>} by seq, until its output comes */ #sent = new Map();
  /** @type {Deferred | null} an announced snapshot whose picture comes next */ #snapshot = null;
  /** Bytes of it. */
  #expected = 0;
  /** @type {Uint8Array<ArrayBuffer>[]} of it so far */ #parts = [];
  #seq = 0;
  /** @type {number | null} the close code, where the transport has none of its own */ endCode = null;
  /** @type {AccessError | undefined} what the server says of the access, before it closes */ refusal;

  /** @param {Socket} socket @param {Painter} outputs */
  constructor(socket, outputs) {
    this.socket = socket;
    this.outputs = outputs;
  }

  /** From now on it tells whether the other end lives. @param {Heartbeat} heartbeat */
  beat(heartbeat) {
    this.heartbeat?.stop();
    this.heartbeat = heartbeat;
  }

  /** A frame goes out. @param {number} sentMs @param {number} capturedUs @returns {number} its `seq` */
  sending(sentMs, capturedUs) {
    const seq = this.#seq++;
    this.inFlight.push(seq);
    this.#sent.set(seq, { sentMs, capturedUs: Math.round(capturedUs) });
    if (this.#sent.size > SENT_TIMES_KEPT) this.#sent.delete(seq - SENT_TIMES_KEPT);
    return seq;
  }

  /** @param {number} seq stands for every earlier frame too @returns {InputFrame | null} which may go now */
  acknowledged(seq) {
    this.inFlight = this.inFlight.filter((sent) => sent > seq);
    const frame = this.unsent;
    this.unsent = null;
    return frame;
  }

  /** When the frame was sent that this output was made from; null when this client did not send it. A prompt stream
   * counts its outputs itself, so the time of capture has to fit too. @param {Header} output */
  sentMs({ sourceSeq, capturedUs }) {
    const frame = this.#sent.get(sourceSeq);
    if (frame?.capturedUs !== capturedUs) return null;
    for (const seq of this.#sent.keys()) if (seq <= sourceSeq) this.#sent.delete(seq);
    return frame.sentMs;
  }

  /** @param {string} ref @param {Deferred} answer */
  asked(ref, answer) {
    this.#requests.set(ref, answer);
  }

  /** The request that this message answers. @param {any} message */
  answered(message) {
    const request = this.#requests.get(message.ref ?? "");
    this.#requests.delete(message.ref ?? "");
    if (message.type === "snapshot_taken") {
      this.#snapshot = request ?? null;
      this.#expected = message.bytes ?? 0;
      this.#parts = [];
    } else if (message.type !== "error") request?.resolve(message);
    else if (!request) this.#refused(typedError(message));
    return request;
  }

  /** @param {StreamgenError} error */
  #refused(error) {
    if (error instanceof AccessError) this.refusal = error;
  }

  /** Take in a binary message; returns the output in it, if it is one. @param {ArrayBuffer} data */
  received(data) {
    const whole = this.#expected ? this.#assemble(data) : data;
    if (!whole) return null;
    const { header, picture } = parseFrame(whole);
    if (header.kind === KIND.output) return { header, picture };
    if (header.kind === KIND.snapshot) {
      const { seq, width, height } = header;
      this.#snapshot?.resolve({ seq, width, height, png: picture });
      this.#snapshot = null;
    }
    return null;
  }

  /** A data channel carries a snapshot in several messages, a WebSocket in one. @param {ArrayBuffer} part
   * @returns {ArrayBuffer | Uint8Array<ArrayBuffer> | null} once it is all there */
  #assemble(part) {
    this.#parts.push(new Uint8Array(part));
    const size = this.#parts.reduce((sum, { length }) => sum + length, 0);
    if (size < this.#expected) return null;
    const whole = new Uint8Array(size);
    let at = 0;
    for (const bytes of this.#parts) {
      whole.set(bytes, at);
      at += bytes.length;
    }
    this.#expected = 0;
    return whole;
  }

  /** The server has said goodbye. @param {{code?: number | null}} bye */
  ends({ code }) {
    this.endCode = code ?? null;
  }

  /** Nothing more comes. @param {StreamgenError} error */
  fail(error) {
    this.heartbeat?.stop();
    this.outputs.stop();
    for (const request of this.#requests.values()) request.reject(error);
    this.#snapshot?.reject(error);
  }
}

/** Hands outputs over one at a time; of those that come meanwhile the newest waits. */
export class Painter {
  /** @type {Output | null} the newest one */ #waiting = null;
  #busy = false;
  #stopped = false;

  /** @param {{paint: (output: Output) => unknown, painted: (output: Output) => void,
   *   failed: (error: unknown) => void}} on */
  constructor(on) {
    this.on = on;
  }

  /** @param {Output} output */
  put(output) {
    this.#waiting = output;
    if (!this.#busy) void this.#paint();
  }

  stop() {
    this.#stopped = true;
  }

  async #paint() {
    this.#busy = true;
    while (this.#waiting && !this.#stopped) {
      const output = this.#waiting;
      this.#waiting = null;
      try {
        await this.on.paint(output);
      } catch (error) {
        this.on.failed(error);
      }
      if (!this.#stopped) this.on.painted(output);
    }
    this.#busy = false;
  }
}
