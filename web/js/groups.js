// Which group of the panel a setting's control stands in. Pure.

/** @import {Origin} from "./feed.js" */
/** @typedef {"main" | "reference" | "advanced"} Group */
/** @typedef {{unused: readonly string[], origin: Origin}} Situation `unused`: settings the model does not look at */

/** At hand; every other setting is among the advanced ones. */
const MAIN = Object.freeze(["strength", "steps", "guidance", "seed", "max_fps"]);
/** At hand where the picture comes from nothing but the prompt and the seed. */
const MAIN_OF_PROMPTS = Object.freeze([...MAIN, "seed_speed"]);
/** Beside the reference picture. */
const OF_REFERENCE = Object.freeze(["reference_scale"]);
/** Chosen by other means than a control. */
const ELSEWHERE = Object.freeze(["source"]);

/** Null: not shown. @param {string} name @param {Situation} situation @returns {Group | null} */
export function groupOf(name, { unused, origin }) {
  if (ELSEWHERE.includes(name) || unused.includes(name)) return null;
  if (OF_REFERENCE.includes(name)) return "reference";
  return (origin === "prompt" ? MAIN_OF_PROMPTS : MAIN).includes(name) ? "main" : "advanced";
}
