// Settings under a name, kept by the server: choose, save, delete.

import { ask } from "./api.js";
import { byId, make } from "./dom.js";
import { capitalised, toast } from "./toasts.js";

/** @import {Settings} from "./types.js" */

/** What a preset of this page leaves out: where the pictures come from is chosen beside it. */
const NOT_KEPT = "source";

export class PresetMenu {
  /** @type {Record<string, {settings: Settings}>} */ #presets = {};
  #menu = byId("preset", HTMLSelectElement);
  #name = byId("preset-name", HTMLInputElement);
  #remove = byId("preset-remove", HTMLButtonElement);

  /** @param {string | undefined} token of the server @param {() => Settings} settings in force
   * @param {(settings: Settings) => void} choose */
  constructor(token, settings, choose) {
    this.token = token;
    this.settings = settings;
    this.choose = choose;
    this.#menu.addEventListener("change", () => this.#chosen());
    this.#remove.addEventListener("click", () => this.#try(() => this.#delete(this.#menu.value)));
    byId("preset-form", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#try(() => this.#save(this.#name.value.trim()));
    });
    this.#load().catch(() => {}); // the server keeps none: the card stays away
  }

  async #load(chosen = "") {
    this.#presets = (await ask("presets", { token: this.token })).presets;
    const names = Object.keys(this.#presets);
    const none = make("option", { value: "", textContent: names.length ? "Choose one" : "None yet" });
    this.#menu.replaceChildren(none, ...names.map((name) => make("option", { value: name, textContent: name })));
    this.#menu.value = chosen;
    this.#remove.disabled = !chosen;
    byId("presets-card", HTMLElement).hidden = false;
  }

  #chosen() {
    const name = this.#menu.value;
    this.#remove.disabled = !name;
    this.#name.value = name;
    if (name) this.choose(this.#presets[name].settings);
  }

  /** @param {string} name */
  async #save(name) {
    if (!name) return;
    const settings = Object.fromEntries(Object.entries(this.settings()).filter(([key]) => key !== NOT_KEPT));
    await ask(`presets/${encodeURIComponent(name)}`, { token: this.token, method: "PUT", body: { settings } });
    await this.#load(name);
    toast(`Saved as ${name}`);
  }

  /** @param {string} name */
  async #delete(name) {
    await ask(`presets/${encodeURIComponent(name)}`, { token: this.token, method: "DELETE" });
    this.#name.value = "";
    await this.#load();
    toast(`Deleted ${name}`);
  }

  /** @param {() => Promise<void>} work */
  #try(work) {
    work().catch((error) => toast(capitalised(error.message), "alert"));
  }
}
