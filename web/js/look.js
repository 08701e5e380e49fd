// The look: a prompt, style chips, and a live mix of two prompts.

import { fill } from "./controls.js";
import { byId, make, press } from "./dom.js";

/** @import {Settings, Updated} from "./types.js" */
/** @typedef {{prompt: string, weight: number}} BlendEntry */

const TYPING_MS = 250;
const UNDERSTOOD_ENOUGH = 0.5;
const HARDLY_UNDERSTOOD = 0.2;
const SHARE_SHOWN = 0.05;

export class Look {
  #prompt = byId("prompt", HTMLTextAreaElement);
  #second = byId("prompt-b", HTMLInputElement);
  #blend = byId("blend", HTMLInputElement);
  #mix = byId("mix", HTMLInputElement);
  /** @type {string[]} */ #styles = [];
  /** @type {string[]} what the server last read the prompt as */ #read = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #typing;

  /** @param {(patch: Settings) => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    for (const field of [this.#prompt, this.#second]) {
      field.addEventListener("input", () => this.#typed());
      field.addEventListener("keydown", (event) => {
        if (!(event instanceof KeyboardEvent)) return;
        if (event.key === "Escape") field.blur();
        if (event.key !== "Enter" || event.shiftKey) return;
        event.preventDefault();
        this.#changed();
      });
    }
    this.#blend.addEventListener("change", () => {
      if (this.#blend.checked && !this.#second.value) this.#second.value = this.#other();
      this.#changed();
    });
    this.#mix.addEventListener("input", () => this.#changed());
    this.#show();
  }

  focus() {
    this.#prompt.focus();
    this.#prompt.select();
  }

  /** The prompt part of the settings, as it stands on the page. @returns {Settings} */
  get settings() {
    const [prompt, second] = [this.#prompt.value.trim(), this.#second.value.trim()];
    if (!this.#blend.checked) return { prompt, prompts_blend: [] };
    const share = Number(this.#mix.value) / 100;
    return { prompt, prompts_blend: [{ prompt, weight: 1 - share }, { prompt: second, weight: share }] };
  }

  /** Offer these as chips. @param {readonly string[]} styles */
  offer(styles) {
    if (styles.join() === this.#styles.join()) return;
    this.#styles = [...styles];
    this.#chips("styles", this.#prompt);
    this.#chips("styles-b", this.#second);
    this.#show();
  }

  /** Take over the server's settings, but leave a field alone that is being typed in. @param {Settings} settings */
  take(settings) {
    const blend = /** @type {BlendEntry[]} */ (settings.prompts_blend ?? []);
    const [a, b] = blend.length >= 2 ? blend : [{ prompt: String(settings.prompt ?? ""), weight: 1 }, null];
    if (document.activeElement !== this.#prompt) this.#prompt.value = a.prompt;
    this.#blend.checked = b !== null;
    if (b) {
      if (document.activeElement !== this.#second) this.#second.value = b.prompt;
      this.#mix.value = String(Math.round((b.weight / (a.weight + b.weight)) * 100));
    }
    this.#show();
  }

  /** Tell how the prompt was read. @param {Updated} updated */
  understood({ understood, styles }) {
    const line = byId("understood", HTMLElement);
    const typed = this.#prompt.value.trim().toLowerCase();
    // A style's own name needs no reading: its chip is lit.
    const tell = understood !== null && (this.#blend.checked || (typed !== "" && styles[typed] !== 1));
    line.dataset.low = String(tell && understood < UNDERSTOOD_ENOUGH);
    line.textContent = tell ? readAs(styles, understood) : "";
    this.#read = shares(styles).map(([style]) => style);
    this.#show();
  }

  #typed() {
    clearTimeout(this.#typing);
    this.#show();
    this.#typing = setTimeout(() => this.#changed(), TYPING_MS);
  }

  #changed() {
    clearTimeout(this.#typing);
    this.#show();
    this.onChange(this.settings);
  }

  #other() {
    return this.#styles.find((style) => style !== this.#prompt.value.trim().toLowerCase()) ?? "";
  }

  /** @param {string} id @param {HTMLInputElement | HTMLTextAreaElement} field */
  #chips(id, field) {
    const chips = this.#styles.map((style) => {
      const chip = make("button", { type: "button", className: "chip" }, style);
      chip.addEventListener("click", () => {
        field.value = style;
        this.#changed();
      });
      return chip;
    });
    byId(id, HTMLElement).replaceChildren(...chips);
  }

  #show() {
    byId("blend-fields", HTMLElement).hidden = !this.#blend.checked;
    for (const [id, field] of /** @type {const} */ ([["styles", this.#prompt], ["styles-b", this.#second]])) {
      const typed = field.value.trim().toLowerCase();
      const chosen = this.#blend.checked || this.#styles.includes(typed) ? [typed] : this.#read;
      for (const chip of byId(id, HTMLElement).children) {
        if (chip instanceof HTMLElement) press(chip, chosen.includes(chip.textContent ?? ""));
      }
    }
    const share = Number(this.#mix.value);
    byId("mix-a", HTMLOutputElement).value = `${short(this.#prompt.value, "A")} ${100 - share}%`;
    byId("mix-b", HTMLOutputElement).value = `${short(this.#second.value, "B")} ${share}%`;
    this.#mix.setAttribute("aria-valuetext", `${100 - share}% first, ${share}% second`);
    fill(this.#mix);
  }
}

/** @param {string} text @param {string} otherwise */
function short(text, otherwise) {
  const words = text.trim();
  return words.length > 10 ? `${words.slice(0, 9)}…` : words || otherwise;
}

/** The styles that matter, the strongest first. @param {Record<string, number>} styles */
function shares(styles) {
  return Object.entries(styles)
    .filter(([, weight]) => weight >= SHARE_SHOWN)
    .sort(([, a], [, b]) => b - a);
}

/**
 * "Read as comic 60%, pencil 40%", and whether that is a guess.
 * @param {Record<string, number>} styles @param {number} understood 0 to 1
 */
export function readAs(styles, understood) {
  const found = shares(styles);
  if (!found.length) return "None of these words is known here; try a style below.";
  const parts = found.map(([style, weight]) => (found.length > 1 ? `${style} ${Math.round(weight * 100)}%` : style));
  const list = parts.join(", ");
  if (understood < HARDLY_UNDERSTOOD) return `Not understood; showing the nearest: ${list}`;
  if (understood < UNDERSTOOD_ENOUGH) return `Not sure what you mean; read as ${list}`;
  return `Read as ${list}`;
}
