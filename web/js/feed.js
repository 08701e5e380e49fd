// Where a session's frames come from: this page sends them, the server makes them from the prompt alone, or another
// program sends them. Pure.

/** @import {Settings} from "./types.js" */
/** @typedef {"frames" | "prompt" | "other"} Origin */

/** Seeds per second that a prompt stream begins with: a model that dreams shows one picture for ever without. */
const PROMPT_TRAVEL = 0.5;

export class Feed {
  /** @type {Origin} chosen by the visitor */ origin = "frames";
  /** @type {Record<"frames" | "prompt", number>} each has its own, because a camera's picture had better not boil */
  #travel = { frames: 0, prompt: PROMPT_TRAVEL };

  /** What to change in `settings` so that frames come from where the visitor chose. @param {Settings} settings
   * @returns {Settings} */
  patch({ source, seed_speed }) {
    if (this.origin === "other" || source === this.origin) return {};
    if (source === "frames" || source === "prompt") this.#travel[source] = Number(seed_speed ?? 0);
    return { source: this.origin, seed_speed: this.#travel[this.origin] };
  }

  /** The seed travel that a reset goes back to. */
  get travel() {
    return this.origin === "prompt" ? PROMPT_TRAVEL : 0;
  }
}
