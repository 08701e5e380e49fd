// What the buttons at the picture do, and the keys that press them.

import { byId } from "./dom.js";
import { listen } from "./keys.js";
import { download, fileName } from "./record.js";
import { toast } from "./toasts.js";

/** @import {Screen} from "./screen.js" */
/** @import {Stream} from "./streamgen.js" */

export class Actions {
  #overlay = byId("obs-url", HTMLInputElement);

  /** @param {Screen} screen
   * @param {{stream: () => Stream | null, compare: () => void, write: () => void}} page `write`: a prompt */
  constructor(screen, page) {
    this.page = page;
    /** @type {Record<string, () => unknown>} */
    const actions = {
      split: page.compare,
      mirror: () => (screen.mirror = !screen.mirror),
      snapshot: () => this.#snapshot(),
      fullscreen: () => this.#fullscreen(),
      "copy-obs": () => this.#copy(),
      help: () => this.#help(),
    };
    for (const [id, run] of Object.entries(actions)) byId(id, HTMLElement).addEventListener("click", run);
    this.#listen();
  }

  /** @param {string} url of the page for OBS that shows this session */
  set overlay(url) {
    this.#overlay.value = url;
  }

  #listen() {
    const does = (/** @type {string} */ id) => () => byId(id, HTMLElement).click();
    listen([
      { key: " ", shown: "Space", does: "Pause and go on", run: does("pause") },
      { key: "/", does: "Write a prompt", run: this.page.write },
      { key: "b", does: "Before and after", run: does("split") },
      { key: "m", does: "Mirror", run: does("mirror") },
      { key: "s", does: "Save a snapshot", run: does("snapshot") },
      { key: "r", does: "Record, and stop recording", run: does("record") },
      { key: "f", does: "Full screen", run: does("fullscreen") },
      { key: "o", does: "Copy the OBS URL", run: does("copy-obs") },
      { key: "?", does: "This help", run: does("help") },
    ]);
  }

  async #snapshot() {
    const snapshot = await this.page.stream()?.snapshot().catch(() => null);
    if (!snapshot) return;
    download(new Blob([snapshot.png], { type: "image/png" }), fileName("png"));
    toast(`Snapshot saved, ${snapshot.width} × ${snapshot.height}`);
  }

  async #copy() {
    if (!this.#overlay.value) return;
    try {
      await navigator.clipboard.writeText(this.#overlay.value);
      toast("Copied. In OBS, add a Browser source with this URL.");
    } catch {
      this.#help(); // no clipboard on this page: show the address to copy by hand
      this.#overlay.select();
    }
  }

  #help() {
    byId("help-dialog", HTMLDialogElement).showModal();
  }

  #fullscreen() {
    const stage = byId("stage", HTMLElement);
    const change = document.fullscreenElement ? document.exitFullscreen() : stage.requestFullscreen?.();
    change?.catch(() => toast("This browser refuses full screen here", "alert"));
  }
}
