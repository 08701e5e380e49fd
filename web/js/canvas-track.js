// A video track of pictures that are drawn: what a camera has by itself.

import { uploadPlan } from "./sizes.js";

/** @import {Picture} from "./sources.js" */
/** @import {Format} from "./types.js" */

export class CanvasTrack {
  #canvas = document.createElement("canvas");
  #context = /** @type {CanvasRenderingContext2D} */ (this.#canvas.getContext("2d", { alpha: false }));
  /** It has a new frame with every `draw`. */
  track = this.#canvas.captureStream().getVideoTracks()[0];

  /** Show a picture, as far as an output of this format makes use of it. @param {Picture} picture @param {Format} format */
  draw(picture, format) {
    const { crop, width, height } = uploadPlan(picture.width, picture.height, format);
    if (this.#canvas.width !== width || this.#canvas.height !== height) Object.assign(this.#canvas, { width, height });
    this.#context.imageSmoothingQuality = "medium";
    this.#context.drawImage(picture.image, crop.x, crop.y, crop.width, crop.height, 0, 0, width, height);
  }
}
