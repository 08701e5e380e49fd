// Controls made from a JSON Schema: sliders, number fields with a dice, choices, switches and colours.

import { make } from "./dom.js";

/**
 * @typedef {{type?: string, title?: string, description?: string, default?: unknown, minimum?: number,
 *   maximum?: number, multipleOf?: number, step?: number, enum?: string[], labels?: string[], format?: string}} Property
 * @typedef {{root: HTMLElement, set: (value: unknown) => void}} Control
 * @typedef {(value: unknown) => void} OnInput
 */

const SLIDER_SPAN = 100_000;
/** What a colour begins with when it is switched on: the usual green of a screen. */
const FIRST_COLOUR = "#00b140";
/** Values that stand for something else than their number. @type {Readonly<Record<string, Record<number, string>>>} */
const MEANINGS = Object.freeze({
  guidance: { 0: "auto", 1: "off" },
  seed_speed: { 0: "still" },
  feedback: { 0: "off" },
  skip_similar: { 0: "off" },
});
let made = 0;

/** Whether this property gets a control; texts and lists have places of their own. @param {Property} property */
export function hasControl({ type, format, enum: choices }) {
  return Boolean(choices) || type === "number" || type === "integer" || type === "boolean" || format === "color";
}

/** @param {string} name @param {Property} property @param {OnInput} onInput @returns {Control} */
export function control(name, property, onInput) {
  const { type, format, minimum = 0, maximum = Infinity, enum: choices } = property;
  if (choices) return choice(name, property, onInput);
  if (format === "color") return colour(name, property, onInput);
  if (type === "boolean") return toggle(name, property, onInput);
  return maximum - minimum <= SLIDER_SPAN ? slider(name, property, onInput) : numberField(name, property, onInput);
}

/** Show on the track how far a slider stands. @param {HTMLInputElement} range */
export function fill(range) {
  const [min, max] = [Number(range.min), Number(range.max)];
  range.style.setProperty("--filled", `${((Number(range.value) - min) / (max - min)) * 100}%`);
}

/** @param {string} name @param {Property} property @param {string} className */
function frame(name, { title, description }, className = "control") {
  const id = `control-${++made}-${name}`;
  const label = make("label", { htmlFor: id }, title ?? name);
  const root = make("div", { className, title: description ?? "" }, label);
  return { id, root };
}

/** @param {string} name @param {Property} property @param {OnInput} onInput @returns {Control} */
function slider(name, property, onInput) {
  const { id, root } = frame(name, property);
  const { minimum = 0, maximum = 1, multipleOf, type } = property;
  const step = property.step ?? multipleOf ?? (type === "integer" ? 1 : 0.01);
  const range = make("input", { type: "range", id, min: `${minimum}`, max: `${maximum}`, step: `${step}` });
  range.dataset.setting = name;
  range.ariaDescription = property.description ?? null;
  const output = make("output", {});
  output.htmlFor.add(id);
  const show = () => {
    output.value = shown(name, Number(range.value), step);
    range.setAttribute("aria-valuetext", output.value);
    fill(range);
  };
  const set = (/** @type {unknown} */ value) => {
    range.value = String(value);
    show();
  };
  range.addEventListener("input", () => {
    show();
    onInput(Number(range.value));
  });
  root.append(output, range);
  set(property.default ?? minimum);
  return { root, set };
}

/** Units stand in the names. @param {string} name @param {number} value @param {number} step */
function shown(name, value, step) {
  const meaning = MEANINGS[name]?.[value];
  if (meaning) return meaning;
  if (name.endsWith("_ms")) return value < 1000 ? `${value} ms` : `${value / 1000} s`;
  if (name.endsWith("_fps")) return `${value} fps`;
  const digits = value.toFixed(Math.max(0, Math.ceil(-Math.log10(step))));
  return name.endsWith("_speed") ? `${digits}/s` : digits;
}

/** @param {string} name @param {Property} property @param {OnInput} onInput @returns {Control} */
function numberField(name, property, onInput) {
  const { id, root } = frame(name, property, "control inline");
  const { minimum = 0, maximum = 2 ** 32 - 1 } = property;
  const limits = { min: `${minimum}`, max: `${maximum}`, step: "1" };
  const input = make("input", { type: "number", id, className: "text", ...limits });
  input.dataset.setting = name;
  input.ariaDescription = property.description ?? null;
  const ariaLabel = `Random ${(property.title ?? name).toLowerCase()}`;
  const dice = make("button", { type: "button", className: "button", ariaLabel });
  dice.innerHTML = '<svg aria-hidden="true"><use href="#i-dice"/></svg>';
  let last = Number(property.default ?? minimum);
  input.addEventListener("change", () => {
    const typed = input.valueAsNumber; // NaN when it is no number
    if (!Number.isNaN(typed)) last = Math.min(Math.max(Math.round(typed), minimum), maximum);
    input.value = String(last);
    if (!Number.isNaN(typed)) onInput(last);
  });
  dice.addEventListener("click", () => {
    last = minimum + Math.floor(Math.random() * Math.min(maximum - minimum + 1, 1_000_000));
    input.value = String(last);
    onInput(last);
  });
  root.append(make("div", { className: "field" }, input, dice));
  const set = (/** @type {unknown} */ value) => {
    last = Number(value);
    if (document.activeElement !== input) input.value = String(value);
  };
  set(property.default ?? minimum);
  return { root, set };
}

/** @param {string} name @param {Property} property @param {OnInput} onInput @returns {Control} */
function choice(name, property, onInput) {
  const { id, root } = frame(name, property, "control inline");
  const { enum: values = [], labels = values.map(capital) } = property;
  const options = values.map((value, index) => make("option", { value }, labels[index]));
  const select = make("select", { id }, ...options);
  select.dataset.setting = name;
  select.ariaDescription = property.description ?? null;
  select.addEventListener("change", () => onInput(select.value));
  root.append(select);
  const set = (/** @type {unknown} */ value) => {
    select.value = String(value);
  };
  set(property.default ?? property.enum?.[0]);
  return { root, set };
}

/** @param {string} name @param {Property} property @param {OnInput} onInput @returns {Control} */
function toggle(name, property, onInput) {
  const { id, root } = frame(name, property);
  const input = make("input", { type: "checkbox", id, className: "switch" });
  input.setAttribute("role", "switch");
  input.dataset.setting = name;
  input.addEventListener("change", () => onInput(input.checked));
  root.append(input);
  const set = (/** @type {unknown} */ value) => {
    input.checked = Boolean(value);
  };
  set(property.default);
  return { root, set };
}

/** A colour, or none: a switch beside it says which. @param {string} name @param {Property} property
 * @param {OnInput} onInput @returns {Control} */
function colour(name, property, onInput) {
  const { id, root } = frame(name, property, "control inline");
  const input = make("input", { type: "color", className: "swatch", value: FIRST_COLOUR });
  input.ariaLabel = property.title ?? name;
  const on = make("input", { type: "checkbox", id, className: "switch" });
  on.setAttribute("role", "switch");
  input.dataset.setting = name;
  const tell = () => onInput(on.checked ? input.value : "");
  input.addEventListener("input", () => {
    on.checked = true;
    tell();
  });
  on.addEventListener("change", tell);
  root.append(make("div", { className: "field" }, on, input));
  const set = (/** @type {unknown} */ value) => {
    on.checked = Boolean(value);
    if (value) input.value = String(value);
  };
  set(property.default);
  return { root, set };
}

/** @param {string} text */
export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
