// Choosing a source: the row of buttons, the list of cameras, files dropped on the picture.

import { byId, make, press } from "./dom.js";
import { cameras, openCamera, openImage, openObs, openPrompt, openSample, openScreen } from "./sources.js";
import { openVideo, SourceError } from "./sources.js";
import { toast } from "./toasts.js";

/** @import {Kind, Source} from "./sources.js" */

const KEPT = "streamgen.source";

export class SourcePicker {
  /** @type {Source | null} */ #source = null;
  #attempt = 0;

  /** @param {{opened: (source: Source) => void,
   *   failed: (title: string, text: string, retry: () => void) => void, session: () => string}} on `session`: that OBS
   *   sends into */
  constructor(on) {
    this.on = on;
    for (const button of document.querySelectorAll("[data-source]")) {
      if (!(button instanceof HTMLElement)) continue;
      button.addEventListener("click", () => this.choose(/** @type {Kind} */ (button.dataset.source)));
    }
    const screen = document.querySelector("[data-source=screen]");
    if (screen instanceof HTMLElement) screen.hidden = !navigator.mediaDevices?.getDisplayMedia;
    byId("use-camera", HTMLElement).addEventListener("click", () => this.choose("camera"));
    byId("notice-sample", HTMLElement).addEventListener("click", () => this.choose("sample"));
    byId("notice-file", HTMLElement).addEventListener("click", () => this.choose("image"));
    byId("device", HTMLSelectElement).addEventListener("change", (event) => {
      const { value } = /** @type {HTMLSelectElement} */ (event.target);
      void this.#open(() => openCamera(value));
    });
    this.#file("video-file", openVideo);
    this.#file("image-file", openImage);
    this.#drops();
  }

  /** Begin with the last visit's source where that needs no question, else with the sample. */
  async start() {
    const kept = localStorage.getItem(KEPT);
    if (kept === "prompt" || kept === "obs") return this.choose(kept);
    const camera = kept === "camera" && (await cameraAllowed());
    await this.choose(camera ? "camera" : "sample");
  }

  /** @param {Kind} kind */
  async choose(kind) {
    if (kind === "video" || kind === "image") return byId(`${kind}-file`, HTMLInputElement).click();
    const obs = () => openObs(this.on.session());
    const openers = { camera: () => openCamera(), screen: openScreen, sample: openSample, prompt: openPrompt, obs };
    await this.#open(openers[kind]);
  }

  /** @param {() => Promise<Source>} opener @param {boolean} [isFile] */
  async #open(opener, isFile = false) {
    const attempt = ++this.#attempt;
    try {
      const source = await opener();
      if (attempt !== this.#attempt) return source.stop(); // another was chosen meanwhile
      const old = this.#source;
      this.#source = source;
      this.on.opened(source);
      old?.stop();
      await this.#show(source);
    } catch (error) {
      if (attempt === this.#attempt) this.#failed(error, opener, isFile);
    }
  }

  /** @param {unknown} error @param {() => Promise<Source>} opener @param {boolean} isFile */
  #failed(error, opener, isFile) {
    if (!(error instanceof SourceError)) throw error;
    if (error.cancelled) toast(`${error.title}.`);
    else if (isFile && this.#source) toast(`${error.title}. ${error.text}`, "alert"); // what runs goes on
    else this.on.failed(error.title, error.text, () => this.#open(opener));
  }

  /** @param {Source} source */
  async #show(source) {
    localStorage.setItem(KEPT, source.kind);
    byId("use-camera", HTMLElement).hidden = source.kind !== "sample";
    for (const button of document.querySelectorAll("[data-source]")) {
      if (button instanceof HTMLElement) press(button, button.dataset.source === source.kind);
    }
    source.onEnded(() => {
      if (source !== this.#source) return;
      const what = source.kind === "camera" ? "The camera was unplugged or taken away" : "Sharing has ended";
      this.on.failed(what, "Choose how to go on.", () => this.choose(source.kind));
    });
    const list = source.kind === "camera" ? await cameras() : [];
    const select = byId("device", HTMLSelectElement);
    select.hidden = list.length < 2;
    select.replaceChildren(
      ...list.map(({ deviceId, label }, index) => make("option", { value: deviceId }, label || `Camera ${index + 1}`)),
    );
    select.value = source.deviceId;
  }

  /** @param {string} id @param {(file: File) => Promise<Source>} opener */
  #file(id, opener) {
    const input = byId(id, HTMLInputElement);
    input.addEventListener("change", () => {
      const file = input.files?.[0];
      input.value = "";
      if (file) void this.#open(() => opener(file), true);
    });
  }

  #drops() {
    const stage = byId("stage", HTMLElement);
    stage.addEventListener("dragover", (event) => {
      event.preventDefault();
      stage.classList.add("dropping");
    });
    stage.addEventListener("dragleave", () => stage.classList.remove("dropping"));
    stage.addEventListener("drop", (event) => {
      event.preventDefault();
      stage.classList.remove("dropping");
      const file = event.dataTransfer?.files[0];
      if (file) void this.#open(() => (file.type.startsWith("video/") ? openVideo(file) : openImage(file)), true);
    });
  }
}

async function cameraAllowed() {
  try {
    const { state } = await navigator.permissions.query({ name: "camera" });
    return state === "granted";
  } catch {
    return false; // a browser that does not know the question
  }
}
