// What is wrong, over the picture, with ways to go on.

import { byId } from "./dom.js";

export class Notice {
  #root = byId("notice", HTMLElement);
  /** @type {() => void} what the first button does */ #retry = () => {};

  constructor() {
    byId("notice-retry", HTMLElement).addEventListener("click", () => this.#retry());
    byId("notice-close", HTMLElement).addEventListener("click", () => this.hide());
  }

  /** @param {string} title @param {string} text @param {() => void} retry */
  show(title, text, retry) {
    byId("notice-title", HTMLElement).textContent = title;
    byId("notice-text", HTMLElement).textContent = text;
    this.#retry = retry;
    this.#root.hidden = false;
  }

  hide() {
    this.#root.hidden = true;
  }
}
