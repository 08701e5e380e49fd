// Opens a connection to a server: a WebSocket, or WebRTC with the same face.

import { SessionError } from "./errors.js";
import { RtcConnection } from "./rtc.js";
import { FINAL_CODES } from "./states.js";
import { tokenProtocol } from "./transport.js";
import { SUBPROTOCOL } from "./wire.js";

/** @import {AccessError} from "./errors.js" */
/** @import {Clock} from "./heartbeat.js" */
/** @import {TokenSource} from "./token.js" */
/** @import {Options, Socket} from "./types.js" */
/** @typedef {Options & Clock & Required<Pick<Options, "fetch">>} FullOptions */

/** What a stream needs from its surroundings, where `options` names nothing else.
 * @param {Options} options @returns {FullOptions & Required<Pick<Options, "comesBack" | "onError" | "random">>} */
export function withDefaults(options) {
  return {
    comesBack: (code) => !FINAL_CODES.includes(code),
    now: () => performance.timeOrigin + performance.now(),
    random: Math.random,
    setTimeout: (run, ms) => globalThis.setTimeout(run, ms),
    clearTimeout: (timer) => globalThis.clearTimeout(timer),
    fetch: (url, init) => globalThis.fetch(url, init),
    WebSocket: globalThis.WebSocket,
    RTCPeerConnection: globalThis.RTCPeerConnection,
    ...options,
    onError: options.onError ?? (({ code, message }) => console.warn(`streamgen: ${code}: ${message}`)),
  };
}

/** The address of a server's socket: also one relative to the page, and one of http. @param {string | URL} url */
export function socketUrl(url) {
  const base = globalThis.location?.href;
  if (!URL.canParse(url, base)) throw new SessionError("unreachable", `this is no address of a server: ${url}`);
  const full = new URL(url, base);
  full.protocol = full.protocol.replace(/^http/, "ws");
  return full.href;
}

/** Dials with the token of the moment, which may have to be fetched first. */
export class Dialler {
  /** @type {object | null} stands for the newest attempt */ #attempt = null;

  /** @param {string} url of the server's `/ws` @param {FullOptions} options @param {TokenSource} tokens */
  constructor(url, options, tokens) {
    this.url = url;
    this.options = options;
    this.tokens = tokens;
  }

  /** Hands over a connection that is being opened: at once where no token has to be fetched.
   * @param {"webrtc" | "websocket"} kind @param {MediaStreamTrack | null} track
   * @param {{dialled: (socket: Socket) => void, failed: (error: AccessError) => void}} on */
  dial(kind, track, on) {
    const attempt = (this.#attempt = {});
    const dialled = (/** @type {string | undefined} */ token) => on.dialled(dial(kind, this.url, this.options, track, token));
    const token = this.tokens.ask();
    if (!(token instanceof Promise)) return dialled(token);
    const current = () => attempt === this.#attempt;
    token.then((given) => current() && dialled(given), (error) => current() && on.failed(error));
  }

  /** Nothing is handed over any more. */
  cancel() {
    this.#attempt = null;
  }
}

/** @param {"webrtc" | "websocket"} kind @param {string} url of the server's `/ws` @param {FullOptions} options
 * @param {MediaStreamTrack | null} track to send over WebRTC @param {string | undefined} token @returns {Socket} */
function dial(kind, url, options, track, token) {
  if (kind === "websocket") {
    if (!options.WebSocket) throw new SessionError("no_websocket", "give a WebSocket as an option: that of the package ws");
    const socket = new options.WebSocket(url, token ? [SUBPROTOCOL, tokenProtocol(token)] : SUBPROTOCOL);
    socket.binaryType = "arraybuffer";
    socket.onerror = () => {}; // `close` follows; the package ws ends the process over an error that nobody listens to
    return socket;
  }
  const { role = "publish", videoCodec = "auto", audio = null } = options;
  const { fetch, RTCPeerConnection, now, setTimeout, clearTimeout } = options;
  const media = { role, track, audio, videoCodec, token };
  return new RtcConnection(url, { ...media, fetch, RTCPeerConnection, now, setTimeout, clearTimeout });
}
