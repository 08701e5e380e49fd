// Which way the stream goes, told and chosen beneath the picture; remembered for this tab, so that a reload where UDP is
// blocked does not wait for it again.

import { byId } from "./dom.js";
import { NO_MEDIA } from "./streamgen.js";

/** @import {TransportKind, TransportWish} from "./types.js" */

/** Why this tab uses a WebSocket. */
const KEPT = "streamgen.websocket";
const CHOSEN = "chosen";
const NAMES = Object.freeze({ webrtc: "WebRTC", websocket: "WebSocket" });

export class PathControl {
  /** @type {TransportKind} */ #kind = "webrtc";
  #button = byId("transport", HTMLButtonElement);

  /** @param {string | null} asked for by the page's address @param {(wish: TransportWish) => void} use */
  constructor(asked, use) {
    this.asked = asked;
    this.#button.addEventListener("click", () => {
      this.#button.disabled = true; // until it is known what came of it
      use(this.#other());
    });
  }

  /** How to connect first. @returns {TransportWish} */
  get wish() {
    if (this.asked === "auto" || this.asked === "webrtc" || this.asked === "websocket") return this.asked;
    return sessionStorage.getItem(KEPT) ? "websocket" : "auto";
  }

  /** The stream goes this way now. @param {TransportKind} kind @param {string} reason */
  show(kind, reason) {
    this.#kind = kind;
    const why = reason === CHOSEN ? (sessionStorage.getItem(KEPT) ?? reason) : reason;
    if (kind === "webrtc") sessionStorage.removeItem(KEPT);
    else if (reason === NO_MEDIA) sessionStorage.setItem(KEPT, reason);
    byId("transport-now", HTMLElement).textContent = why && kind === "websocket" ? `${NAMES[kind]}: ${why}` : NAMES[kind];
    this.#button.textContent = kind === "webrtc" ? "Use a WebSocket" : "Try WebRTC";
    this.#button.disabled = false;
    this.#button.hidden = typeof RTCPeerConnection === "undefined";
  }

  /** @returns {TransportWish} */
  #other() {
    if (this.#kind === "webrtc") {
      sessionStorage.setItem(KEPT, CHOSEN);
      return "websocket";
    }
    sessionStorage.removeItem(KEPT);
    return "auto";
  }
}
