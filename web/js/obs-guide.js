// OBS as the camera: what to type into it, over the picture until it sends; and which session it sends into.

import { byId } from "./dom.js";
import { toast } from "./toasts.js";

const KEPT = "streamgen.obs";
const FIRST_NAME = "studio";
const MAX_NAME = 64;

/** Whether pictures come: not yet, now, or not any more.
 * @typedef {"waiting" | "live" | "dry"} Arrival */

export class ObsGuide {
  #root = byId("obs-guide", HTMLElement);
  #name = byId("obs-session", HTMLInputElement);
  #url = byId("obs-whip", HTMLInputElement);
  #token = byId("obs-token", HTMLInputElement);
  #session = FIRST_NAME;
  /** @type {Arrival} */ #arrival = "waiting";

  /** @param {string | undefined} token of the server @param {() => void} renamed another session was named */
  constructor(token, renamed) {
    this.#session = localStorage.getItem(KEPT) || FIRST_NAME;
    this.#token.value = token ?? "";
    byId("obs-token-row", HTMLElement).hidden = !token;
    byId("obs-no-token", HTMLElement).hidden = Boolean(token);
    this.#name.addEventListener("input", () => this.#show(sessionName(this.#name.value, this.#session)));
    this.#name.addEventListener("change", () => {
      const before = this.#session;
      this.session = this.#name.value;
      if (this.#session !== before) renamed();
    });
    this.#copies("obs-copy-whip", this.#url, "Copied. In OBS, this is the Server.");
    this.#copies("obs-copy-token", this.#token, "Copied. In OBS, this is the Bearer Token.");
    byId("obs-close", HTMLElement).addEventListener("click", () => this.#close());
    this.#root.addEventListener("keydown", ({ key }) => key === "Escape" && this.#close());
  }

  /** That OBS sends into. */
  get session() {
    return this.#session;
  }

  /** What is no name becomes the nearest one. @param {string} name */
  set session(name) {
    this.#session = sessionName(name, this.#session);
    localStorage.setItem(KEPT, this.#session);
    this.#name.value = this.#session;
    this.#show(this.#session);
  }

  open() {
    this.#name.value = this.#session;
    this.#show(this.#session);
    this.#root.hidden = false;
  }

  /** OBS is the source no more. */
  leave() {
    this.arrival = "waiting";
    this.#root.hidden = true;
  }

  /** @returns {Arrival} */
  get arrival() {
    return this.#arrival;
  }

  /** The first picture takes the guide away, and the end of the session brings it back. @param {Arrival} arrival */
  set arrival(arrival) {
    if (arrival === this.#arrival) return;
    if (arrival === "waiting") this.open();
    else if (this.#arrival === "waiting") this.#root.hidden = true;
    this.#arrival = arrival;
    byId("obs-dry", HTMLElement).hidden = arrival !== "dry";
    byId("obs-spinner", HTMLElement).hidden = arrival === "live";
    byId("obs-title", HTMLElement).textContent = arrival === "live" ? "OBS is the camera" : "Waiting for OBS";
  }

  #close() {
    this.#root.hidden = true;
    const button = document.querySelector("[data-source=obs]");
    if (button instanceof HTMLElement) button.focus(); // what had it is gone
  }

  /** @param {string} session */
  #show(session) {
    this.#url.value = whipUrl(session, document.baseURI);
  }

  /** @param {string} id of the button @param {HTMLInputElement} field @param {string} told */
  #copies(id, field, told) {
    byId(id, HTMLElement).addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(field.value);
        toast(told);
      } catch {
        field.classList.remove("secret"); // no clipboard on this page: show it to copy by hand
        field.select();
      }
    });
  }
}

/** The session's name nearest to what was typed: letters, digits, - and _. @param {string} typed
 * @param {string} otherwise where nothing is left of it */
export function sessionName(typed, otherwise) {
  const name = typed.trim().replace(/[^A-Za-z0-9_-]+/g, "-").slice(0, MAX_NAME);
  return /[A-Za-z0-9_]/.test(name) ? name : otherwise;
}

/** Where OBS sends to. @param {string} session @param {string} page the page's own address */
export function whipUrl(session, page) {
  return new URL(`whip/${session}`, page).href;
}
