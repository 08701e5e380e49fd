// From a source to the stream: paced, cropped to what is needed, encoded only when it can be sent.

import { Pacer, usefulFps } from "./pacer.js";
import { uploadPlan } from "./sizes.js";

/** @import {Source} from "./sources.js" */
/** @import {Format} from "./types.js" */
/** @import {Stream} from "./streamgen.js" */

const JPEG_QUALITY = 0.82;
const KEPT_FRAMES = 8;
const STALL_MS = 150;
const STILL_FPS = 10; // a still image is sent on, so that a new look shows

/** What was sent, kept until its output comes: the picture to show as "before".
 * @typedef {{seq: number, canvas: OffscreenCanvas}} SentFrame */

/** Sends the newest picture of one source at a time. Give it a source with `use`, and call `ready` on credit. */
export class Capture {
  /** @type {Source | null} */ #source = null;
  /** @type {SentFrame[]} a ring, oldest first */ #frames = [];
  #encoding = false;
  #pacer = new Pacer();
  /** @type {number[]} of the last outputs */ #engineMs = [];
  #frameMs = -Infinity;
  /** @type {number | null} when the newest unsent picture was taken, null when there is none */ #waitingMs = null;
  #ticker = new Worker(new URL("./ticker.js", import.meta.url));
  #encoder = new Worker(new URL("./encoder.js", import.meta.url));
  #fps = 30;
  /** Pictures that a newer one replaced before they were encoded. */
  skipped = 0;
  running = true;

  /** @param {() => Stream | null} stream @param {() => Format} format @param {() => void} onSent */
  constructor(stream, format, onSent) {
    this.stream = stream;
    this.format = format;
    this.onSent = onSent;
    this.#ticker.addEventListener("message", () => this.#ticked());
  }

  /** @param {Source | null} source null: send nothing. The one before is left to its owner to stop */
  use(source) {
    this.#source = source;
    this.#waitingMs = null;
    this.#frameMs = -Infinity;
    if (source?.video) this.#watch(source, source.video);
    this.#pace();
  }

  /** @param {number} fps */
  set maxFps(fps) {
    this.#fps = fps;
    this.#pace();
  }

  #pace() {
    const fps = this.#source?.kind === "image" ? Math.min(STILL_FPS, this.#fps) : this.#fps;
    this.#ticker.postMessage(this.#source ? 1000 / fps : 0);
  }

  /** The picture that was sent as `seq`, if it is still kept. @param {number} seq */
  sent(seq) {
    return this.#frames.find((frame) => frame.seq === seq)?.canvas ?? null;
  }

  /** Tell how long the engine took for a frame. @param {number} engineMs */
  took(engineMs) {
    this.#engineMs = [...this.#engineMs.slice(-4), engineMs];
  }

  /** Call when the stream can take a frame: what waits is sent. */
  ready() {
    if (this.#waitingMs !== null) void this.#send(this.#waitingMs);
  }

  /** @param {Source} source @param {HTMLVideoElement} video */
  #watch(source, video) {
    if (!("requestVideoFrameCallback" in video)) return;
    video.requestVideoFrameCallback((now, { captureTime }) => {
      if (source !== this.#source) return;
      this.#watch(source, video);
      this.#frameMs = now;
      const age = captureTime === undefined ? 0 : performance.now() - captureTime;
      this.#taken(performance.now() - (age > 0 && age < 1000 ? age : 0));
    });
  }

  /** Pictures without frames of their own, hidden pages and stalled videos go by the ticker. */
  #ticked() {
    const now = performance.now();
    if (document.hidden || now - this.#frameMs > STALL_MS) this.#taken(now);
  }

  /** @param {number} takenMs */
  #taken(takenMs) {
    const fps = Math.min(this.#fps, usefulFps(this.#engineMs));
    if (!this.running || !this.#pacer.admit(performance.now(), fps)) return;
    if (this.#waitingMs !== null) this.skipped += 1;
    this.#waitingMs = takenMs;
    void this.#send(takenMs);
  }

  /** @param {number} takenMs */
  async #send(takenMs) {
    const stream = this.stream();
    if (!this.#source || !stream?.ready || this.#encoding) return;
    this.#encoding = true;
    this.#waitingMs = null;
    try {
      const canvas = this.#draw(this.#source);
      if (!canvas) return;
      const data = await this.#encode(canvas);
      const { width, height } = canvas;
      const capturedUs = (performance.timeOrigin + takenMs) * 1000;
      const seq = stream.send({ data, width, height, capturedUs });
      if (seq === null) return;
      this.#frames.push({ seq, canvas });
      this.onSent();
    } finally {
      this.#encoding = false;
    }
    this.ready();
  }

  /** @param {Source} source @returns {OffscreenCanvas | null} */
  #draw(source) {
    const picture = source.picture();
    if (!picture?.width || !picture.height) return null;
    const { crop, width, height } = uploadPlan(picture.width, picture.height, this.format());
    const canvas = this.#canvas(width, height);
    const context = context2d(canvas);
    context.imageSmoothingQuality = "medium";
    context.drawImage(picture.image, crop.x, crop.y, crop.width, crop.height, 0, 0, width, height);
    return canvas;
  }

  /** @param {OffscreenCanvas} canvas @returns {Promise<ArrayBuffer>} a JPEG */
  #encode(canvas) {
    const image = context2d(canvas).getImageData(0, 0, canvas.width, canvas.height);
    this.#encoder.postMessage({ image, quality: JPEG_QUALITY }, [image.data.buffer]);
    return new Promise((resolve, reject) => {
      this.#encoder.onerror = ({ message }) => reject(new Error(message));
      this.#encoder.onmessage = ({ data }) => (data instanceof ArrayBuffer ? resolve(data) : reject(new Error(data)));
    });
  }

  /** @param {number} width @param {number} height */
  #canvas(width, height) {
    const old = this.#frames.length >= KEPT_FRAMES ? this.#frames.shift()?.canvas : undefined;
    if (old?.width === width && old.height === height) return old;
    return new OffscreenCanvas(width, height);
  }
}

/** Kept in main memory, because every picture is read back. @param {OffscreenCanvas} canvas */
function context2d(canvas) {
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  if (!context) throw new Error("this browser has no 2d canvas");
  return context;
}
