// Which way a stream goes: WebRTC or a WebSocket, and why. Pure.

/** @import {Transport, TransportWish} from "./types.js" */

/** Why a stream went over to the WebSocket where UDP is blocked. */
export const NO_MEDIA = "no media within 3 s";

/** Decides anew for every connection. */
export class TransportChoice {
  /** @type {string | null} what keeps WebRTC from being tried again */ #hindrance = null;
  #certain = true;
  #told = "";

  /** @param {TransportWish} wish @param {() => string | null} unfit why WebRTC does not even come into question */
  constructor(wish, unfit) {
    this.wish = wish;
    this.unfit = unfit;
  }

  /** @returns {Transport} */
  get now() {
    if (this.wish !== "auto") return { kind: this.wish, reason: "chosen" };
    const reason = this.#hindrance ?? this.unfit();
    return reason === null ? { kind: "webrtc", reason: "" } : { kind: "websocket", reason };
  }

  /** @param {TransportWish} wish @returns {boolean} whether that is another way than before */
  ask(wish) {
    const { kind } = this.now;
    this.wish = wish;
    this.#hindrance = null;
    this.#told = "";
    return this.now.kind !== kind;
  }

  /** WebRTC did not come about; returns whether the WebSocket takes its place.
   * @param {string} reason @param {boolean} certain false: perhaps the server itself is away */
  fallBack(reason, certain) {
    if (this.wish !== "auto") return false;
    this.#hindrance = reason;
    this.#certain = certain;
    return true;
  }

  /** The present way leads to the server. */
  arrived() {
    this.#certain = true;
  }

  /** What is new to whoever watches of the way that is gone now; null for nothing. @param {Transport} transport */
  news({ kind, reason }) {
    const told = `${kind} ${reason}`;
    if (told === this.#told) return null;
    this.#told = told;
    return { kind, reason };
  }

  /** It does not: what kept WebRTC away may have been that alone. */
  failed() {
    if (!this.#certain) this.#hindrance = null;
  }
}

/** The subprotocol that carries a server's access token. @param {string} token */
export function tokenProtocol(token) {
  const bytes = Array.from(new TextEncoder().encode(token), (byte) => String.fromCharCode(byte));
  return `token.${btoa(bytes.join("")).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}

/** Where a server takes WebRTC's offers. @param {string} socketUrl its `/ws` @param {string} path */
export function signallingUrl(socketUrl, path) {
  const url = new URL(`webrtc/${path}`, socketUrl);
  url.protocol = url.protocol.replace("ws", "http");
  return url.href;
}
