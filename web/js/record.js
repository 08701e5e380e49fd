// Files for the visitor: a recording of the picture as shown, and snapshots.

import { byId, press } from "./dom.js";
import { capitalised, toast } from "./toasts.js";

const TYPES = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm", "video/mp4"];

/** Offer `data` as a download. @param {Blob} data @param {string} name */
export function download(data, name) {
  const url = URL.createObjectURL(data);
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** A file name that sorts by time. @param {string} extension @param {Date} [when] */
export function fileName(extension, when = new Date()) {
  const local = new Date(when.getTime() - when.getTimezoneOffset() * 60_000);
  return `streamgen-${local.toISOString().slice(0, 19).replace("T", "-").replaceAll(":", "")}.${extension}`;
}

/** The button that begins a recording of a canvas and ends it, and how long it is so far. */
export class RecordButton {
  /** @type {ReturnType<typeof startRecording> | null} */ #recording = null;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    byId("record", HTMLElement).addEventListener("click", () => this.#toggle());
    setInterval(() => this.#showTime(), 1000);
  }

  async #toggle() {
    const recording = this.#recording;
    this.#recording = null;
    if (recording) {
      await recording.stop();
      toast("Recording saved");
    } else {
      try {
        this.#recording = startRecording(this.canvas);
      } catch (error) {
        toast(error instanceof Error ? capitalised(error.message) : String(error), "alert");
      }
    }
    press(byId("record", HTMLElement), this.#recording !== null);
    byId("recording", HTMLElement).hidden = this.#recording === null;
    this.#showTime();
  }

  #showTime() {
    const seconds = Math.floor(this.#recording?.seconds() ?? 0);
    const shown = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    byId("recording-time", HTMLElement).textContent = shown;
  }
}

/** Record a canvas until `stop()`. Throws where the browser cannot. @param {HTMLCanvasElement} canvas */
export function startRecording(canvas) {
  const types = typeof MediaRecorder === "undefined" ? [] : TYPES;
  const mimeType = types.find((type) => MediaRecorder.isTypeSupported(type));
  if (!mimeType) throw new Error("this browser cannot record");
  const recorder = new MediaRecorder(canvas.captureStream(), { mimeType, videoBitsPerSecond: 6_000_000 });
  /** @type {Blob[]} */
  const parts = [];
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  const stopped = new Promise((resolve) => recorder.addEventListener("stop", resolve, { once: true }));
  recorder.start(1000);
  const startedMs = performance.now();
  return {
    seconds: () => (performance.now() - startedMs) / 1000,
    stop: async () => {
      recorder.stop();
      await stopped;
      const type = mimeType.split(";")[0];
      download(new Blob(parts, { type }), fileName(type.split("/")[1]));
    },
  };
}
