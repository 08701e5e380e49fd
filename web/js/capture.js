// From a source to the stream: paced, cropped to what is needed. Over a WebSocket encoded here, and only when it can be
// sent; over WebRTC the browser encodes a track.

import { CanvasTrack } from "./canvas-track.js";
import { KeptFrames } from "./kept.js";
import { Pacer, usefulFps } from "./pacer.js";
import { uploadPlan } from "./sizes.js";

/** @import {Picture, Source} from "./sources.js" */
/** @import {Format, Output, TransportKind} from "./types.js" */
/** @import {Stream} from "./streamgen.js" */

const JPEG_QUALITY = 0.82;
const STALL_MS = 150;
const STILL_FPS = 10; // a still image is sent on, so that a new look shows

/** Sends the newest picture of one source at a time. Give it a source with `use`, tell it the transport, and call `ready`
 * on credit. */
export class Capture {
  /** @type {Source | null} */ #source = null;
  #frames = new KeptFrames();
  #encoding = false;
  #pacer = new Pacer();
  /** @type {number[]} of the last outputs */ #engineMs = [];
  #frameMs = -Infinity;
  /** @type {number | null} when the newest unsent picture was taken, null when there is none */ #waitingMs = null;
  #ticker = new Worker(new URL("./ticker.js", import.meta.url));
  #encoder = new Worker(new URL("./encoder.js", import.meta.url));
  /** @type {CanvasTrack | null} once it is needed */ #drawn = null;
  #fps = 30;
  /** Pictures that a newer one replaced before they were encoded. */
  skipped = 0;
  running = true;
  /** Whether what an output was made from is to be kept. */
  comparing = false;
  /** @type {TransportKind} */ transport = "websocket";

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
    this.#frames.clear();
    if (source?.video) this.#watch(source, source.video);
    this.#pace();
  }

  /** What WebRTC sends: a camera's own track, or one that is drawn here; null without a source. */
  get track() {
    if (!this.#source) return null;
    return this.#source.track ?? (this.#drawn ??= new CanvasTrack()).track;
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

  /** The picture that an output was made from, if it is still kept. @param {Output} output */
  before(output) {
    if (output.video) return this.#frames.taken(output.capturedUs === null ? null : output.capturedUs / 1000);
    return output.sentMs === null ? null : this.#frames.sent(output.sourceSeq ?? -1);
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
    if (this.transport === "webrtc") return this.#show(takenMs);
    if (this.#waitingMs !== null) this.skipped += 1;
    this.#waitingMs = takenMs;
    void this.#send(takenMs);
  }

  /** Put the picture into the track, unless it comes from there. @param {number} takenMs */
  #show(takenMs) {
    const picture = this.#picture();
    if (!picture) return;
    if (!this.#source?.track) this.#drawn?.draw(picture, this.format());
    if (this.comparing) this.#keep(null, takenMs, this.#draw(picture));
  }

  /** @param {number} takenMs */
  async #send(takenMs) {
    const stream = this.stream();
    if (!stream?.ready || this.#encoding) return;
    this.#encoding = true;
    this.#waitingMs = null;
    try {
      const picture = this.#picture();
      if (!picture) return;
      const canvas = this.#draw(picture);
      const data = await this.#encode(canvas);
      const { width, height } = canvas;
      const capturedUs = (performance.timeOrigin + takenMs) * 1000;
      const seq = stream.send({ data, width, height, capturedUs });
      if (seq === null) return;
      this.#keep(seq, takenMs, canvas);
      this.onSent();
    } finally {
      this.#encoding = false;
    }
    this.ready();
  }

  /** @returns {Picture | null} */
  #picture() {
    const picture = this.#source?.picture();
    return picture?.width && picture.height ? picture : null;
  }

  /** @param {Picture} picture @returns {OffscreenCanvas} */
  #draw(picture) {
    const { crop, width, height } = uploadPlan(picture.width, picture.height, this.format());
    const canvas = this.#frames.canvas(width, height);
    const context = context2d(canvas);
    context.imageSmoothingQuality = "medium";
    context.drawImage(picture.image, crop.x, crop.y, crop.width, crop.height, 0, 0, width, height);
    return canvas;
  }

  /** @param {number | null} seq @param {number} takenMs @param {OffscreenCanvas} canvas */
  #keep(seq, takenMs, canvas) {
    this.#frames.keep({ seq, takenMs: performance.timeOrigin + takenMs, canvas });
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
}

/** Kept in main memory, because every picture is read back. @param {OffscreenCanvas} canvas */
function context2d(canvas) {
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  if (!context) throw new Error("this browser has no 2d canvas");
  return context;
}
