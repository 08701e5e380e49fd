// A camera, or any video, as what a publisher sends. In browsers.

import { CodecError, MediaError } from "./errors.js";
import { Pacer } from "./pacer.js";
import { uploadPlan } from "./sizes.js";

/** @import {Camera, VideoOptions} from "./types.js" */
/** @import {Stream} from "./stream.js" */

const JPEG_QUALITY = 0.82;
const DEFAULT_FPS = 30;

/** By the name of the browser's exception. @type {Readonly<Record<string, [string, string]>>} */
const FAILURES = Object.freeze({
  NotAllowedError: ["camera_blocked", "the camera is blocked for this page, or was not allowed"],
  NotFoundError: ["no_camera", "no camera was found"],
  NotReadableError: ["camera_busy", "another program may be using the camera"],
  OverconstrainedError: ["no_camera", "there is no such camera"],
});

/** Open a camera: give its `track` to `connect`, and its `video` to `sendVideo`. Call `close` when done.
 * @param {MediaTrackConstraints} [wanted] of the browser: `deviceId`, `width`, `height`, `frameRate`, `facingMode`
 * @returns {Promise<Camera>} rejects with a MediaError `camera_blocked`, `no_camera`, `camera_busy`, `camera_failed`, or
 *   `insecure_page` where the page came neither over https nor from localhost */
export async function openCamera(wanted = {}) {
  if (!globalThis.navigator?.mediaDevices?.getUserMedia) {
    throw new MediaError("insecure_page", "a camera needs a page that came over https or from localhost");
  }
  const usual = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: DEFAULT_FPS } };
  try {
    const media = await navigator.mediaDevices.getUserMedia({ video: { ...usual, ...wanted }, audio: false });
    const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true, srcObject: media });
    await video.play();
    const [track] = media.getVideoTracks();
    return { track, video, close: () => track.stop() };
  } catch (error) {
    const [code, fact] = FAILURES[error instanceof DOMException ? error.name : ""] ?? ["camera_failed", String(error)];
    throw new MediaError(code, fact);
  }
}

/** Send the frames of a video that plays, wherever the stream goes over a WebSocket: paced to `max_fps`, cropped and
 * shrunk to what the format makes use of, and encoded only when they would be sent at once. Over WebRTC the stream's
 * `track` does that. In a hidden page a video has no frames.
 * @param {Stream} stream @param {HTMLVideoElement} video @param {VideoOptions} [options]
 * @returns {() => void} call it to stop */
export function sendVideo(stream, video, { quality = JPEG_QUALITY } = {}) {
  const pacer = new Pacer();
  const canvas = new OffscreenCanvas(1, 1);
  let [stopped, encoding] = [false, false];

  /** @param {number} takenMs of the page's own clock */
  const send = async (takenMs) => {
    const { format, settings } = stream;
    if (encoding || !stream.ready || !format || !video.videoWidth) return;
    if (!pacer.admit(performance.now(), Number(settings.max_fps) || DEFAULT_FPS)) return;
    encoding = true;
    try {
      const { width, height } = draw(canvas, video, format);
      const data = await (await canvas.convertToBlob({ type: "image/jpeg", quality })).arrayBuffer();
      if (!stopped) stream.send({ data, width, height, capturedUs: (performance.timeOrigin + takenMs) * 1000 });
    } catch (error) {
      stream.options.onError(new CodecError("encode_failed", `the browser could not encode a frame: ${error}`));
    } finally {
      encoding = false;
    }
  };

  const watch = () => {
    video.requestVideoFrameCallback((now, { captureTime }) => {
      if (stopped) return;
      watch();
      void send(captureTime && captureTime <= now ? captureTime : now);
    });
  };
  watch();
  return () => {
    stopped = true;
  };
}

/** @param {OffscreenCanvas} canvas @param {HTMLVideoElement} video
 * @param {{width: number, height: number, fit: "cover" | "contain"}} format */
function draw(canvas, video, format) {
  const { crop, width, height } = uploadPlan(video.videoWidth, video.videoHeight, format);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
  context.drawImage(video, crop.x, crop.y, crop.width, crop.height, 0, 0, width, height);
  return { width, height };
}
