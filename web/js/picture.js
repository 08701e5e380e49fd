// Outputs as pictures that a canvas or a texture can take, whatever carried them. In browsers.

import { CODEC, FLAG } from "./wire.js";

/** @import {Output} from "./types.js" */

/** `packed`: `source` is twice as wide as the picture, its right half the alpha of its left one.
 * @typedef {{source: ImageBitmap | HTMLVideoElement, width: number, height: number, packed: boolean,
 *   close: () => void}} Picture */

/** Call `picture` or `drop`, once. @typedef {{picture: () => Promise<Picture>, drop: () => void, bytes: number}} Kept */

/** The picture of an output. Call its `close` once it is painted. A video's shows its present frame, and only until the
 * next one comes. @param {Output} output @returns {Promise<Picture>} */
export async function picture(output) {
  const { video, data, flags } = output;
  const packed = (flags & FLAG.alpha) !== 0;
  if (video) return described(video, video.videoWidth, video.videoHeight, packed, () => {});
  return bitmapPicture(await createImageBitmap(encoded(output)), packed);
}

/** @param {Output} output over a WebSocket */
function encoded({ data, codec, width, height }) {
  if (codec !== CODEC.raw || !data) return new Blob([data ?? ""], { type: "image/jpeg" });
  const image = new ImageData(width, height);
  for (let from = 0, to = 0; from < data.length; from += 3, to += 4) {
    image.data.set([data[from], data[from + 1], data[from + 2], 255], to);
  }
  return image;
}

/** Keep an output for later: compressed where it is, else as a copy of its frame.
 * @param {Output} output @returns {Promise<Kept>} */
export async function keep(output) {
  const { video, data, flags } = output;
  if (!video) return { picture: () => picture(output), drop: () => {}, bytes: data?.byteLength ?? 0 };
  const bitmap = await createImageBitmap(video);
  const copy = bitmapPicture(bitmap, (flags & FLAG.alpha) !== 0);
  return { picture: () => Promise.resolve(copy), drop: copy.close, bytes: 4 * bitmap.width * bitmap.height };
}

/** @param {ImageBitmap} bitmap @param {boolean} packed */
const bitmapPicture = (bitmap, packed) => described(bitmap, bitmap.width, bitmap.height, packed, () => bitmap.close());

/** @param {ImageBitmap | HTMLVideoElement} source @param {number} width @param {number} height @param {boolean} packed
 * @param {() => void} close @returns {Picture} */
function described(source, width, height, packed, close) {
  return { source, width: packed ? width / 2 : width, height, packed, close };
}
