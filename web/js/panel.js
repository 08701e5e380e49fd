// The settings panel: live settings and the format, both from the server's schema.

import { control, hasControl } from "./controls.js";
import { byId } from "./dom.js";
import { groupOf } from "./groups.js";
import { describeSize, matchSize, presets, upscaled } from "./sizes.js";

/** @import {Control, Property} from "./controls.js" */
/** @import {Group, Situation} from "./groups.js" */
/** @import {Format, Settings} from "./types.js" */
/** @typedef {{base: string, shape: string, aspect: number, fit: "cover" | "contain", upscale: string}} Choice `aspect`:
 * where none is chosen by the shape */

/** Aspects to choose from. @type {Readonly<Record<string, number>>} */
const SHAPES = Object.freeze({ Square: 1, "16:9": 16 / 9, "4:3": 4 / 3, "9:16": 9 / 16 });
/** The aspect of the source, or of the format that another session has. */
const MATCH = "Match the source";
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

/** Size, shape and fit of the output, and how much of it the upscaler makes. */
export class FormatPanel {
  /** @type {Choice} of the visitor for this page's own sources; larger than the protocol's default, because here a person
   * looks at it */
  #own = { base: "320", shape: MATCH, aspect: 1, fit: "cover", upscale: "1" };
  #shown = this.#own;
  /** @type {{base: Control, shape: Control, fit: Control, upscale: Control}} */ #controls;

  /** @param {{width: Property, height: Property, fit: Property, upscale: Property}} schema
   * @param {(change: Partial<Format>) => void} onChange */
  constructor(schema, onChange) {
    const { minimum = 128, maximum = 1024, multipleOf = 32 } = schema.width;
    this.rules = { min: minimum, max: maximum, multiple: multipleOf };
    if (schema.fit.default === "contain") this.#own.fit = "contain";
    this.upscales = (schema.upscale.enum ?? ["1"]).map(String);
    this.#recall();
    const choose = (/** @type {Partial<Choice>} */ chosen) => {
      Object.assign(this.#shown, chosen);
      if (this.#shown === this.#own) this.#keep();
      const { fit, ...size } = this.format;
      onChange("fit" in chosen ? { fit } : size);
    };
    const sizes = presets(this.rules).map(String);
    const cost = "Pixels along a side of a square; other shapes cost about the same.";
    const labels = sizes.map((side) => `about ${side}×${side} pixels`);
    const size = { title: "Size", description: cost, enum: sizes, labels };
    const upscale = { ...schema.upscale, enum: this.upscales, labels: this.upscales.map(paintedAt) };
    const shape = { title: "Shape", description: "The aspect of the output.", enum: [MATCH, ...Object.keys(SHAPES)] };
    this.#controls = {
      base: control("size", size, (value) => choose({ base: String(value) })),
      shape: control("shape", shape, (value) => choose({ shape: String(value) })),
      fit: control("fit", schema.fit, (value) => choose({ fit: value === "contain" ? "contain" : "cover" })),
      upscale: control("upscale", upscale, (value) => choose({ upscale: String(value) })),
    };
    byId("format", HTMLElement).append(...Object.values(this.#controls).map(({ root }) => root));
    this.#show();
  }

  #keep() {
    const { base, shape, fit, upscale } = this.#own;
    localStorage.setItem(KEPT, JSON.stringify([base, shape, fit, upscale]));
  }

  #recall() {
    try {
      const [base, shape, fit, upscale] = JSON.parse(localStorage.getItem(KEPT) ?? "[]");
      if (presets(this.rules).map(String).includes(base)) this.#own.base = base;
      if (shape in SHAPES) this.#own.shape = shape;
      if (fit === "cover" || fit === "contain") this.#own.fit = fit;
      if (this.upscales.includes(upscale)) this.#own.upscale = upscale;
    } catch {
      localStorage.removeItem(KEPT);
    }
  }

  #show() {
    for (const name of /** @type {const} */ (["base", "shape", "fit", "upscale"])) this.#controls[name].set(this.#shown[name]);
    const match = this.#controls.shape.root.querySelector("option");
    if (match) match.textContent = this.#shown === this.#own ? MATCH : "As it is";
  }

  /** Tell the shape of the source; a format that matches it follows. @param {number} width @param {number} height */
  source(width, height) {
    this.#own.aspect = width / height;
  }

  /** Show the format of a session that another program feeds; what is chosen meanwhile is not for this page's own sources.
   * @param {Format} format in force */
  follow({ width, height, fit, upscale }) {
    const { base, shape } = describeSize({ width, height }, SHAPES, upscaled(this.rules, upscale));
    this.#shown = { base: String(base), shape: shape || MATCH, aspect: width / height, fit, upscale: String(upscale) };
    this.#show();
  }

  /** Show what the visitor chose for this page's own sources again. */
  unfollow() {
    this.#shown = this.#own;
    this.#show();
  }

  /** @returns {Format} */
  get format() {
    const { base, shape, aspect, fit } = this.#shown;
    const upscale = /** @type {1 | 2 | 4} */ (Number(this.#shown.upscale));
    return { ...matchSize(Number(base), SHAPES[shape] ?? aspect, upscaled(this.rules, upscale)), fit, upscale };
  }
}

/** @param {string} upscale @returns {string} */
function paintedAt(upscale) {
  return upscale === "1" ? "off: painted at full size" : `×${upscale}: painted at 1/${upscale} of the size`;
}
