// The settings panel: live settings and the format, both from the server's schema.

import { control, hasControl } from "./controls.js";
import { byId } from "./dom.js";
import { matchSize, presets } from "./sizes.js";

/** @import {Control, Property} from "./controls.js" */
/** @import {Format, Settings} from "./types.js" */

/** Aspects to choose from; 0 is the source's own. @type {Readonly<Record<string, number>>} */
const SHAPES = Object.freeze({ "Match the source": 0, Square: 1, "16:9": 16 / 9, "4:3": 4 / 3, "9:16": 9 / 16 });
const KEPT = "streamgen.format";

/** The live settings, but for the prompt. */
export class SettingsPanel {
  /** @type {Map<string, Control>} */ #controls = new Map();
  /** @type {Settings} */ defaults = {};

  /** @param {{properties: Record<string, Property>}} schema @param {(patch: Settings) => void} onChange */
  constructor(schema, onChange) {
    const root = byId("controls", HTMLElement);
    for (const [name, property] of Object.entries(schema.properties)) {
      if (!hasControl(property)) continue;
      const made = control(name, property, (value) => onChange({ [name]: value }));
      this.#controls.set(name, made);
      this.defaults[name] = property.default;
      root.append(made.root);
    }
    byId("reset", HTMLElement).addEventListener("click", () => {
      this.show(this.defaults);
      onChange(this.defaults);
    });
  }

  /** The part of `settings` that has a control here. @param {Settings} settings @returns {Settings} */
  own(settings) {
    return Object.fromEntries(Object.entries(settings).filter(([name]) => this.#controls.has(name)));
  }

  /** @param {Settings} settings */
  show(settings) {
    for (const [name, { set }] of this.#controls) if (name in settings) set(settings[name]);
  }
}

/** Size, shape and fit of the output. */
export class FormatPanel {
  #base = "320"; // larger than the protocol's default, because here a person looks at it
  #shape = Object.keys(SHAPES)[0];
  #fit = "cover";
  #aspect = 1;

  /** @param {{width: Property, height: Property, fit: Property}} schema @param {(format: Format) => void} onChange */
  constructor(schema, onChange) {
    const { minimum = 128, maximum = 1024, multipleOf = 32 } = schema.width;
    this.rules = { min: minimum, max: maximum, multiple: multipleOf };
    this.#fit = String(schema.fit.default ?? "cover");
    Object.assign(this, this.#recall());
    const changed = () => {
      localStorage.setItem(KEPT, JSON.stringify([this.#base, this.#shape, this.#fit]));
      onChange(this.format);
    };
    const sizes = presets(this.rules).map(String);
    const cost = "Pixels along a side of a square; other shapes cost about the same.";
    const labels = sizes.map((side) => `about ${side}×${side} pixels`);
    const size = { title: "Size", description: cost, enum: sizes, labels };
    const shape = { title: "Shape", description: "The aspect of the output.", enum: Object.keys(SHAPES) };
    const controls = [
      control("size", { ...size, default: this.#base }, (value) => ((this.#base = String(value)), changed())),
      control("shape", { ...shape, default: this.#shape }, (value) => ((this.#shape = String(value)), changed())),
      control("fit", { ...schema.fit, default: this.#fit }, (value) => ((this.#fit = String(value)), changed())),
    ];
    byId("format", HTMLElement).append(...controls.map(({ root }) => root));
  }

  #recall() {
    try {
      const [base, shape, fit] = JSON.parse(localStorage.getItem(KEPT) ?? "[]");
      if (presets(this.rules).map(String).includes(base)) this.#base = base;
      if (shape in SHAPES) this.#shape = shape;
      if (fit === "cover" || fit === "contain") this.#fit = fit;
    } catch {
      localStorage.removeItem(KEPT);
    }
  }

  /** Tell the shape of the source; a format that matches it follows. @param {number} width @param {number} height */
  source(width, height) {
    this.#aspect = width / height;
  }

  /** @returns {Format} */
  get format() {
    const aspect = SHAPES[this.#shape] || this.#aspect;
    const fit = this.#fit === "contain" ? "contain" : "cover";
    return { ...matchSize(Number(this.#base), aspect, this.rules), fit };
  }
}
