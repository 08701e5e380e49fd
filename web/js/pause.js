// The pause button. Of a stream that another program feeds it stops this page's view alone, and says so.

import { byId, press, setIcon } from "./dom.js";

/** @type {Readonly<Record<"own" | "other", {label: string, tag: string}>>} */
const WORDS = Object.freeze({
  own: { label: "Pause", tag: "Paused" },
  other: { label: "Pause this view", tag: "Paused here, the session goes on" },
});

export class PauseButton {
  #button = byId("pause", HTMLElement);
  #tag = byId("paused", HTMLElement);

  /** @param {() => void} toggle */
  constructor(toggle) {
    this.#button.addEventListener("click", toggle);
  }

  /** @param {boolean} own whether the stream is this page's, and all of it stops */
  set own(own) {
    const { label, tag } = WORDS[own ? "own" : "other"];
    this.#button.ariaLabel = label;
    this.#button.title = `${label} (space)`;
    this.#tag.textContent = tag;
  }

  /** @param {boolean} paused */
  set paused(paused) {
    press(this.#button, paused);
    setIcon(this.#button, paused ? "i-play" : "i-pause");
    this.#tag.hidden = !paused;
  }
}
