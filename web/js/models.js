// The menu of models, where the server has more than one.

import { byId, make } from "./dom.js";

export class ModelMenu {
  #select = byId("model", HTMLSelectElement);
  #loading = byId("model-loading", HTMLElement);
  #current = "";

  /** @param {(model: string) => Promise<unknown>} choose settles once the model is there, or is refused */
  constructor(choose) {
    this.#select.addEventListener("change", async () => {
      const model = this.#select.value;
      this.#busy(this.#select.selectedOptions[0]?.textContent ?? model);
      await choose(model).catch(() => {}); // the page tells every error
      this.#busy(null);
    });
  }

  /** @param {readonly string[]} models @param {string} current */
  offer(models, current) {
    const options = models.map((name) => make("option", { value: name, title: name }, shortName(name, models)));
    this.#select.replaceChildren(...options);
    byId("model-card", HTMLElement).hidden = models.length < 2;
    this.current = current;
  }

  /** @param {string} model that the server has now */
  set current(model) {
    this.#current = model;
    if (!this.#select.disabled) this.#select.value = model;
  }

  /** @param {string | null} name of what is being loaded */
  #busy(name) {
    this.#select.disabled = name !== null;
    this.#loading.hidden = name === null;
    byId("model-loading-text", HTMLElement).textContent = name === null ? "" : `Loading ${name}…`;
    if (name === null) this.#select.value = this.#current;
  }
}

/** The last part of a folder or a hub id, unless two models share it. @param {string} name
 * @param {readonly string[]} models */
export function shortName(name, models) {
  const last = (/** @type {string} */ path) => path.split("/").at(-1) || path;
  return models.filter((other) => last(other) === last(name)).length > 1 ? name : last(name);
}
