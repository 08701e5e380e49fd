// Outputs in a canvas of the page. In browsers.

import { StreamgenError } from "./errors.js";
import { picture } from "./picture.js";
import { unpacker } from "./unpack.js";

/** @import {Output} from "./types.js" */
/** @import {Canvas} from "./unpack.js" */
/** @import {Picture} from "./picture.js" */

/** Paint outputs into a canvas, whatever carried them: give the result to `connect` as `onOutput`. The canvas takes the
 * size of each picture, so CSS scales, fits and mirrors it; it must have no context yet, and be used for nothing else.
 * @param {Canvas | string} canvas or a selector of it
 * @param {{alpha?: boolean}} [options] `alpha`: show the page through what is transparent; `connect` needs `alpha` too
 * @returns {(output: Output) => Promise<void>} settles once the output is painted */
export function paintTo(canvas, { alpha = false } = {}) {
  const found = typeof canvas === "string" ? document.querySelector(canvas) : canvas;
  const screen = /** @type {Canvas | null} */ (found && "getContext" in found ? found : null);
  if (!screen) throw new StreamgenError("no_canvas", `there is no canvas ${canvas}`, { field: "canvas" });
  const paint = alpha ? transparent(screen) : opaque(screen);
  return async (output) => {
    const shown = await picture(output);
    paint(shown);
    shown.close();
  };
}

/** @param {Canvas} canvas @returns {(shown: Picture) => void} */
function transparent(canvas) {
  const screen = unpacker(canvas);
  return (shown) => screen.paint(shown);
}

/** @param {Canvas} canvas @returns {(shown: Picture) => void} */
function opaque(canvas) {
  const context = /** @type {CanvasRenderingContext2D | null} */ (canvas.getContext("2d", { alpha: false }));
  if (!context) throw new StreamgenError("no_canvas", "the canvas has another context already", { field: "canvas" });
  return ({ source, width, height }) => {
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    context.drawImage(source, 0, 0, width, height, 0, 0, width, height);
  };
}
