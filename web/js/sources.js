// Where pictures come from: camera, screen, video file, still image, built-in sample, the prompt alone, or OBS.

/**
 * @typedef {"camera" | "screen" | "video" | "image" | "sample" | "prompt" | "obs"} Kind
 * @typedef {{image: CanvasImageSource, width: number, height: number}} Picture
 * @typedef {object} Source
 * @property {Kind} kind
 * @property {string} label of OBS the session that it sends into
 * @property {HTMLVideoElement | null} video its frames set the pace; null: the picture is drawn when asked for
 * @property {MediaStreamTrack | null} track of its own, where it has one
 * @property {() => Picture | null} picture the newest one; null where this page has none to send
 * @property {string} deviceId of a camera, else empty
 * @property {(ended: () => void) => void} onEnded
 * @property {() => void} stop
 */

/** A source that cannot be opened, told to the visitor. */
export class SourceError extends Error {
  /** @param {string} title @param {string} text @param {boolean} [cancelled] the visitor changed their mind */
  constructor(title, text, cancelled = false) {
    super(`${title}: ${text}`);
    this.title = title;
    this.text = text;
    this.cancelled = cancelled;
  }
}

/** @type {Record<string, [string, string]>} */
const CAMERA_FAILURES = {
  NotAllowedError: [
    "The camera is blocked",
    "Allow it in the browser's address bar or in the system's privacy settings, then try again.",
  ],
  NotFoundError: ["No camera was found", "Plug one in and try again, or use another source."],
  NotReadableError: ["The camera is busy", "Another program may be using it. Close that one and try again."],
  OverconstrainedError: ["That camera is gone", "Choose another one, or use another source."],
};

/** @param {string} [deviceId] @returns {Promise<Source>} */
export async function openCamera(deviceId) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new SourceError("The camera needs a secure page", "Open this page over https, or on localhost.");
  }
  const wanted = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
  const video = deviceId ? { ...wanted, deviceId: { exact: deviceId } } : wanted;
  try {
    return fromMedia("camera", await navigator.mediaDevices.getUserMedia({ video, audio: false }));
  } catch (error) {
    const name = error instanceof DOMException ? error.name : "";
    const [title, text] = CAMERA_FAILURES[name] ?? ["The camera did not start", String(error)];
    throw new SourceError(title, text);
  }
}

/** Cameras to choose from; they have labels only once one was opened. @returns {Promise<MediaDeviceInfo[]>} */
export async function cameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices.filter((device) => device.kind === "videoinput" && device.deviceId);
}

/** @returns {Promise<Source>} */
export async function openScreen() {
  if (!navigator.mediaDevices?.getDisplayMedia) {
    throw new SourceError("The screen cannot be shared here", "This browser has no screen capture on this page.");
  }
  try {
    const media = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 30 } }, audio: false });
    return fromMedia("screen", media);
  } catch (error) {
    const denied = error instanceof DOMException && error.name === "NotAllowedError";
    throw new SourceError("The screen was not shared", denied ? "Nothing was chosen." : String(error), denied);
  }
}

/** @param {Kind} kind @param {MediaStream} media @returns {Promise<Source>} */
async function fromMedia(kind, media) {
  const [track] = media.getVideoTracks();
  const video = newVideo();
  video.srcObject = media;
  await play(video);
  return {
    kind,
    label: track.label,
    deviceId: kind === "camera" ? (track.getSettings().deviceId ?? "") : "",
    video,
    track,
    picture: () => ({ image: video, width: video.videoWidth, height: video.videoHeight }),
    onEnded: (ended) => track.addEventListener("ended", ended),
    stop: () => {
      for (const one of media.getTracks()) one.stop();
      video.srcObject = null;
    },
  };
}

/** @param {File} file @returns {Promise<Source>} */
export async function openVideo(file) {
  const video = newVideo();
  const url = URL.createObjectURL(file);
  video.src = url;
  video.loop = true;
  try {
    await play(video);
  } catch {
    URL.revokeObjectURL(url);
    throw new SourceError("That video cannot be played", `The browser does not read ${file.name}.`);
  }
  return {
    kind: "video",
    label: file.name,
    deviceId: "",
    video,
    track: null,
    picture: () => ({ image: video, width: video.videoWidth, height: video.videoHeight }),
    onEnded: () => {},
    stop: () => {
      video.pause();
      video.removeAttribute("src");
      URL.revokeObjectURL(url);
    },
  };
}

function newVideo() {
  return Object.assign(document.createElement("video"), { muted: true, playsInline: true });
}

/** @param {HTMLVideoElement} video */
async function play(video) {
  await video.play();
  if (!video.videoWidth) {
    await new Promise((resolve) => video.addEventListener("resize", resolve, { once: true }));
  }
}

/** @param {Blob & {name?: string}} file @returns {Promise<Source>} */
export async function openImage(file) {
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    throw new SourceError("That picture cannot be read", `The browser does not read ${file.name ?? "it"}.`);
  }
  const { width, height } = image;
  return {
    kind: "image",
    label: file.name ?? "",
    deviceId: "",
    video: null,
    track: null,
    picture: () => ({ image, width, height }),
    onEnded: () => {},
    stop: () => image.close(),
  };
}

/** A bundled portrait under a slowly moving virtual camera. @returns {Promise<Source>} */
export async function openSample() {
  const response = await fetch(new URL("../assets/sample.jpg", import.meta.url));
  if (!response.ok) throw new SourceError("The sample is missing", `The server answered ${response.status}.`);
  const image = await createImageBitmap(await response.blob());
  const canvas = new OffscreenCanvas(480, 480);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const picture = () => {
    const { x, y, side } = samplePan(still.matches ? 0 : performance.now() / 1000, image.width);
    context.drawImage(image, x, y, side, side, 0, 0, canvas.width, canvas.height);
    return { image: canvas, width: canvas.width, height: canvas.height };
  };
  const stop = () => image.close();
  const rest = { deviceId: "", video: null, track: null, onEnded: () => {} };
  return { kind: "sample", label: "Sample", picture, stop, ...rest };
}

/** A prompt stream: the server makes the frames, this page sends none. @returns {Promise<Source>} */
export async function openPrompt() {
  return elsewhere("prompt", "");
}

/** OBS sends to the server by WHIP, and this page steers what becomes of it. @param {string} session
 * @returns {Promise<Source>} */
export async function openObs(session) {
  return elsewhere("obs", session);
}

/** @param {Kind} kind @param {string} label @returns {Source} */
function elsewhere(kind, label) {
  const nothing = () => {};
  const rest = { deviceId: "", video: null, track: null, onEnded: nothing, stop: nothing };
  return { kind, label, picture: () => null, ...rest };
}

/** Which square of the sample is seen: a loop of 24 s. @param {number} seconds @param {number} size */
function samplePan(seconds, size) {
  const turn = (seconds / 24) * 2 * Math.PI;
  const side = size * (0.8 + 0.12 * Math.cos(turn));
  const room = size - side;
  return { side, x: room * (0.5 + 0.5 * Math.sin(turn * 2)), y: room * (0.3 - 0.3 * Math.cos(turn * 3)) };
}
