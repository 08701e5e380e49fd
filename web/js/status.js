// What the page says of its connection, at its top and in the look of the picture.

import { byId } from "./dom.js";

/** @import {State} from "./types.js" */

/** @type {Readonly<Record<State | "waiting" | "lost", string>>} */
const TEXTS = Object.freeze({
  connecting: "Connecting",
  open: "Live",
  reconnecting: "Reconnecting",
  closed: "Disconnected",
  waiting: "Waiting for OBS",
  lost: "Reconnecting… is the server running?",
});
const NO_SESSION = 4404;

export class Status {
  /** @type {State} */ #state = "connecting";
  #lost = false;
  #waiting = false;

  /** @param {State} state @param {number} [code] that the connection was closed with */
  show(state, code) {
    this.#state = state;
    if (state === "reconnecting") this.#lost = code !== NO_SESSION;
    else if (state !== "connecting") this.#lost = false;
    this.#tell();
  }

  /** Another stream begins. */
  restart() {
    this.#lost = false;
    this.show("connecting");
  }

  /** @param {boolean} waiting for pictures of a program that has not begun, or has stopped */
  set waiting(waiting) {
    if (waiting === this.#waiting) return;
    this.#waiting = waiting;
    this.#tell();
  }

  #tell() {
    const told = statusOf(this.#state, this.#lost, this.#waiting);
    const look = told === "lost" ? this.#state : told;
    for (const id of ["connection", "stage"]) byId(id, HTMLElement).dataset.state = look;
    const text = byId("connection-text", HTMLElement);
    if (text.textContent !== TEXTS[told]) text.textContent = TEXTS[told]; // or it is read out again
  }
}

/** @param {State} state @param {boolean} lost the server is away @param {boolean} waiting */
export function statusOf(state, lost, waiting) {
  if (state === "closed") return state;
  if (lost) return "lost";
  return waiting ? "waiting" : state;
}
