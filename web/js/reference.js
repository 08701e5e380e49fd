// Any picture as a reference picture: small enough for `stream.reference`. In browsers.

import { CodecError } from "./errors.js";
import { MAX_REFERENCE_BYTES } from "./wire.js";

/** Of the longer side, in turn until the picture is small enough; image encoders look at 224 to 336 pixels. */
const SIDES = Object.freeze([512, 384, 256, 192]);
const MIN_SIDE = 16;
const QUALITIES = Object.freeze([0.9, 0.75, 0.6]);

/** A JPEG of at most 512 pixels a side, as large and as good as a text message takes. A canvas, a bitmap or an image is
 * looked at before this returns, so it may change or be closed afterwards. Throws a CodecError `bad_image`.
 * @param {Blob | ImageBitmap | HTMLCanvasElement | OffscreenCanvas | HTMLImageElement} picture
 * @returns {Promise<Uint8Array<ArrayBuffer>>} */
export async function referenceJpeg(picture) {
  let canvas = picture instanceof Blob ? await drawBlob(picture) : draw(picture, SIDES[0]);
  for (const side of SIDES) {
    if (Math.max(canvas.width, canvas.height) > side) canvas = draw(canvas, side);
    for (const quality of QUALITIES) {
      const jpeg = await canvas.convertToBlob({ type: "image/jpeg", quality });
      if (jpeg.size <= MAX_REFERENCE_BYTES) return new Uint8Array(await jpeg.arrayBuffer());
    }
  }
  throw new CodecError("bad_image", `this picture does not fit into ${MAX_REFERENCE_BYTES} bytes`, { field: "image" });
}

/** What a picture is drawn to: its longer side at most `side`; a very long one is squeezed rather than made thinner than
 * a reference picture may be. @param {number} width @param {number} height @param {number} side */
export function referenceSize(width, height, side) {
  const scale = Math.min(1, side / Math.max(width, height));
  const [w, h] = [width, height].map((size) => Math.max(MIN_SIDE, Math.round(size * scale)));
  return { width: w, height: h };
}

/** @param {Blob} blob */
async function drawBlob(blob) {
  const bitmap = await createImageBitmap(blob).catch(() => {
    throw new CodecError("bad_image", "the browser does not read that picture", { field: "image" });
  });
  try {
    return draw(bitmap, SIDES[0]);
  } finally {
    bitmap.close();
  }
}

/** @param {ImageBitmap | HTMLCanvasElement | OffscreenCanvas | HTMLImageElement} picture @param {number} side */
function draw(picture, side) {
  const [fullWidth, fullHeight] =
    "naturalWidth" in picture ? [picture.naturalWidth, picture.naturalHeight] : [picture.width, picture.height];
  if (!fullWidth || !fullHeight) throw new CodecError("bad_image", "that picture is empty", { field: "image" });
  const { width, height } = referenceSize(fullWidth, fullHeight, side);
  const canvas = new OffscreenCanvas(width, height);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white"; // a JPEG has no transparency, and drawings are made for paper
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, 0, 0, width, height);
  return canvas;
}
