// The reference picture, for models that can be steered by one: a file, a drop, or the frame that is shown.

import { capital } from "./controls.js";
import { byId } from "./dom.js";
import { referenceJpeg } from "./reference.js";
import { StreamgenError, toBase64 } from "./streamgen.js";
import { toast } from "./toasts.js";

/** @typedef {Uint8Array<ArrayBuffer> | null} Jpeg */

/** In this tab alone, like the session it steers. */
const KEPT = "streamgen.reference";
const DATA_URL = "data:image/jpeg;base64,";

export class ReferenceField {
  #root = byId("reference", HTMLElement);
  /** @type {Jpeg} in force, or to be as soon as a model takes one */ #jpeg = recall();
  /** @type {Jpeg} likewise, or asked for since */ #shown = null;
  #attempt = 0;
  #unsaid = true;
  #own = true;

  /** @param {(jpeg: Jpeg) => Promise<unknown>} put settles once it is in force, or is refused
   * @param {() => OffscreenCanvas | null} frame that is shown now */
  constructor(put, frame) {
    this.put = put;
    const file = byId("reference-file", HTMLInputElement);
    const choose = () => file.click();
    byId("reference-choose", HTMLElement).addEventListener("click", choose);
    byId("reference-empty", HTMLElement).addEventListener("click", choose);
    byId("reference-remove", HTMLElement).addEventListener("click", () => {
      void this.#take(null);
      byId("reference-choose", HTMLElement).focus(); // the button that had it is gone
    });
    byId("reference-frame", HTMLElement).addEventListener("click", () => {
      const shown = frame();
      if (shown) void this.#take(shown);
      else toast("There is no picture yet");
    });
    file.addEventListener("change", () => {
      const chosen = file.files?.[0];
      file.value = "";
      if (chosen) void this.#take(chosen);
    });
    this.#drops();
    this.#show(this.#jpeg);
  }

  /** Call when a session is begun. @param {boolean} own of this page, which is told of the page's picture; else one that
   * has its own, unknown here until another one is chosen */
  renew(own) {
    this.#attempt += 1;
    this.#own = this.#unsaid = own;
    this.#jpeg = own ? recall() : null;
    this.#show(this.#jpeg);
  }

  /** @param {boolean} takes whether the model the server has now takes one */
  offer(takes) {
    this.#root.hidden = !takes;
    if (takes && this.#unsaid) void this.#put(this.#jpeg);
  }

  /** @param {Blob | OffscreenCanvas | null} picture */
  async #take(picture) {
    const attempt = ++this.#attempt;
    try {
      const jpeg = picture && (await referenceJpeg(picture));
      if (attempt === this.#attempt) await this.#put(jpeg);
    } catch (error) {
      if (!(error instanceof StreamgenError)) throw error;
      toast(capital(error.message), "alert");
    }
  }

  /** @param {Jpeg} jpeg */
  async #put(jpeg) {
    this.#unsaid = false;
    this.#show(jpeg);
    try {
      await this.put(jpeg);
      if (jpeg !== this.#shown) return; // another was asked for meanwhile
      this.#jpeg = jpeg;
      if (!this.#own) return;
      if (jpeg) sessionStorage.setItem(KEPT, toBase64(jpeg));
      else sessionStorage.removeItem(KEPT);
    } catch (error) {
      if (jpeg === this.#shown) this.#show(this.#jpeg); // it stays in force
      if (!(error instanceof StreamgenError)) throw error;
      if (error.code !== "closed") toast(capital(error.message), "alert"); // else the page went on to another session
    }
  }

  /** @param {Jpeg} jpeg */
  #show(jpeg) {
    this.#shown = jpeg;
    byId("reference-picture", HTMLImageElement).src = jpeg ? DATA_URL + toBase64(jpeg) : "";
    byId("reference-filled", HTMLElement).hidden = jpeg === null;
    byId("reference-empty", HTMLElement).hidden = jpeg !== null;
  }

  #drops() {
    const root = this.#root;
    root.addEventListener("dragover", (event) => {
      event.preventDefault();
      root.classList.add("dropping");
    });
    root.addEventListener("dragleave", () => root.classList.remove("dropping"));
    root.addEventListener("drop", (event) => {
      event.preventDefault();
      root.classList.remove("dropping");
      const file = event.dataTransfer?.files[0];
      if (file) void this.#take(file);
    });
  }
}

/** The picture from before this page was reloaded. @returns {Jpeg} */
function recall() {
  const kept = sessionStorage.getItem(KEPT);
  return kept ? Uint8Array.from(atob(kept), (character) => character.charCodeAt(0)) : null;
}
