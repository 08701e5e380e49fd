// A slider for each LoRA the model was loaded with.

import { control } from "./controls.js";
import { byId } from "./dom.js";

/** @import {Control} from "./controls.js" */
/** @import {Settings} from "./types.js" */
/** @typedef {Record<string, number>} Weights */

const RANGE = Object.freeze({ type: "number", minimum: -1, maximum: 2, step: 0.05 });

export class LoraPanel {
  /** @type {Weights} as they were loaded */ #loaded = {};
  /** @type {Weights} as they were set since */ #set = {};
  /** @type {Map<string, Control>} */ #controls = new Map();

  /** @param {(patch: Settings) => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    byId("loras-reset", HTMLElement).addEventListener("click", () => {
      this.show({ loras: {} });
      onChange({ loras: {} });
    });
  }

  /** Give each of these a slider. @param {Weights} loras name and loaded weight */
  offer(loras) {
    this.#loaded = loras;
    this.#controls = new Map(Object.keys(loras).map((name) => [name, this.#slider(name)]));
    byId("loras", HTMLElement).replaceChildren(...[...this.#controls.values()].map(({ root }) => root));
    byId("loras-card", HTMLElement).hidden = this.#controls.size === 0;
    this.show({ loras: this.#set });
  }

  /** @param {Settings} settings in force */
  show({ loras = {} }) {
    this.#set = known(/** @type {Weights} */ (loras), this.#loaded);
    for (const [name, { set }] of this.#controls) set(this.#set[name] ?? this.#loaded[name]);
  }

  /** @param {string} name */
  #slider(name) {
    const property = { ...RANGE, title: name.replaceAll("_", " "), default: this.#loaded[name] };
    return control(`lora-${name}`, property, (weight) => {
      this.#set = { ...this.#set, [name]: Number(weight) };
      this.onChange({ loras: this.#set });
    });
  }
}

/** Those of `weights` that the model has; the server refuses others. @param {Weights} weights @param {Weights} loaded
 * @returns {Weights} */
export function known(weights, loaded) {
  return Object.fromEntries(Object.entries(weights).filter(([name]) => name in loaded));
}
