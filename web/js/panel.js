// The settings panel: live settings and the format, both from the server's schema.

import { control, hasControl } from "./controls.js";
import { byId } from "./dom.js";
import { groupOf } from "./groups.js";
import { matchSize, presets } from "./sizes.js";

/** @import {Control, Property} from "./controls.js" */
/** @import {Group, Situation} from "./groups.js" */
/** @import {Format, Settings} from "./types.js" */

/** Aspects to choose from; 0 is the source's own. @type {Readonly<Record<string, number>>} */
const SHAPES = Object.freeze({ "Match the source": 0, Square: 1, "16:9": 16 / 9, "4:3": 4 / 3, "9:16": 9 / 16 });
/** Where each group stands. @type {Readonly<Record<Group, string>>} */
const BOXES = Object.freeze({ main: "controls", reference: "controls-reference", advanced: "controls-advanced" });
const KEPT = "streamgen.format";
const KEPT_OPEN = "streamgen.advanced";

/** The live settings, but for the prompt and the source. */
export class SettingsPanel {
  /** @type {Map<string, Control>} */ #controls = new Map();
  /** @type {Settings} */ defaults = {};
  #arranged = "";

  /** Call `arrange` next; no control is shown before. @param {{properties: Record<string, Property>}} schema
   * @param {(patch: Settings) => void} onChange @param {(defaults: Settings) => void} onReset */
  constructor(schema, onChange, onReset) {
    for (const [name, property] of Object.entries(schema.properties)) {
      if (!hasControl(property)) continue;
      const made = control(name, property, (value) => onChange({ [name]: value }));
      this.#controls.set(name, made);
      if (name !== "source") this.defaults[name] = property.default;
    }
    byId("reset", HTMLElement).addEventListener("click", () => onReset(this.defaults));
    const advanced = byId("advanced", HTMLDetailsElement);
    advanced.open = localStorage.getItem(KEPT_OPEN) === "true";
    advanced.addEventListener("toggle", () => localStorage.setItem(KEPT_OPEN, String(advanced.open)));
  }

  /** Show the controls that are of use, each in its group. @param {Situation} situation */
  arrange(situation) {
    const key = JSON.stringify(situation);
    if (key === this.#arranged) return; // a control that is put in its place again loses the pointer and the focus
    this.#arranged = key;
    for (const [group, id] of Object.entries(BOXES)) {
      const members = [...this.#controls].filter(([name]) => groupOf(name, situation) === group);
      byId(id, HTMLElement).replaceChildren(...members.map(([, { root }]) => root));
    }
    byId("advanced", HTMLElement).hidden = !byId(BOXES.advanced, HTMLElement).childElementCount;
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
