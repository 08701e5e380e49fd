// The negative prompt, for models that can leave something out or steer away from it.

import { byId } from "./dom.js";

/** @import {Settings} from "./types.js" */

const TYPING_MS = 250;

export class NegativePrompt {
  #field = byId("negative", HTMLInputElement);
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #typing;
  #guidance = 0;
  /** Whether the model needs guidance for it; the embedded one reads it as words. */
  guided = true;

  /** @param {(patch: Settings) => void} onChange */
  constructor(onChange) {
    const changed = () => {
      clearTimeout(this.#typing);
      onChange({ negative_prompt: this.#field.value.trim() });
    };
    this.#field.addEventListener("input", () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(changed, TYPING_MS);
      this.#hint();
    });
    this.#field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#field.blur();
      if (event.key === "Enter") changed();
    });
  }

  /** @param {Settings} settings in force */
  show(settings) {
    this.#guidance = Number(settings.guidance ?? 0);
    if (document.activeElement !== this.#field) this.#field.value = String(settings.negative_prompt ?? "");
    this.#hint();
  }

  #hint() {
    byId("negative-hint", HTMLElement).hidden = !this.guided || !this.#field.value.trim() || this.#guidance > 1;
  }
}
