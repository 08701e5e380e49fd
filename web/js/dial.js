// Opens a connection to a server: a WebSocket, or WebRTC with the same face.

import { RtcConnection } from "./rtc.js";
import { FINAL_CODES } from "./states.js";
import { tokenProtocol } from "./transport.js";
import { SUBPROTOCOL } from "./wire.js";

/** @import {Clock} from "./heartbeat.js" */
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

/** @param {"webrtc" | "websocket"} kind @param {string} url of the server's `/ws` @param {FullOptions} options
 * @param {MediaStreamTrack | null} track to send over WebRTC @returns {Socket} */
export function dial(kind, url, options, track) {
  const { token } = options;
  if (kind === "websocket") {
    const socket = new options.WebSocket(url, token ? [SUBPROTOCOL, tokenProtocol(token)] : SUBPROTOCOL);
    socket.binaryType = "arraybuffer";
    return socket;
  }
  const { role = "publish", videoCodec = "auto", audio = null } = options;
  const { fetch, RTCPeerConnection, now, setTimeout, clearTimeout } = options;
  const media = { role, track, audio, videoCodec, token };
  return new RtcConnection(url, { ...media, fetch, RTCPeerConnection, now, setTimeout, clearTimeout });
}
