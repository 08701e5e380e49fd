// Which output sizes to offer, and how a picture is fitted into one. Pure.

/** @typedef {{min: number, max: number, multiple: number}} SideRules */
/** @typedef {{x: number, y: number, width: number, height: number}} Rect */

const PRESETS = [128, 192, 256, 320, 384, 512, 640, 768, 1024];

/** What the sides of an output have to be when the model paints it this much smaller. @param {SideRules} rules
 * @param {number} upscale @returns {SideRules} */
export function upscaled({ min, max, multiple }, upscale) {
  return { min: min * upscale, max, multiple: multiple * upscale };
}

/** Square sizes to offer. @param {SideRules} rules @returns {number[]} */
export function presets({ min, max, multiple }) {
  return PRESETS.filter((side) => side >= min && side <= max && side % multiple === 0);
}

/** The size of this aspect (width over height) with about `base` x `base` pixels, so that it costs the same.
 * Among the allowed sizes within a fifth of that area, the one nearest in aspect wins, then the nearest in area.
 * @param {number} base @param {number} aspect @param {SideRules} rules @returns {{width: number, height: number}} */
export function matchSize(base, aspect, { min, max, multiple }) {
  let best = { width: base, height: base };
  let bestCost = Infinity;
  for (let width = min; width <= max; width += multiple) {
    for (let height = min; height <= max; height += multiple) {
      const area = Math.abs(Math.log((width * height) / (base * base)));
      const shape = Math.abs(Math.log(width / height / aspect));
      const cost = shape + area * 0.3 + (area > Math.log(1.2) ? area * 2 : 0);
      if (cost < bestCost) [best, bestCost] = [{ width, height }, cost];
    }
  }
  return best;
}

/** Which base and which shape make this size; where none does, the nearest base and the empty shape.
 * @param {{width: number, height: number}} size @param {Readonly<Record<string, number>>} shapes name and aspect
 * @param {SideRules} rules @returns {{base: number, shape: string}} */
export function describeSize({ width, height }, shapes, rules) {
  const distance = (/** @type {number} */ base) => Math.abs(Math.log((width * height) / (base * base)));
  const bases = presets(rules).sort((a, b) => distance(a) - distance(b));
  for (const [shape, aspect] of Object.entries(shapes)) {
    for (const base of bases.slice(0, 2)) {
      const made = matchSize(base, aspect, rules);
      if (made.width === width && made.height === height) return { base, shape };
    }
  }
  return { base: bases[0], shape: "" };
}

/** The part of a picture that is seen when it fills `width` x `height`.
 * @param {number} pictureWidth @param {number} pictureHeight @param {number} width @param {number} height
 * @returns {Rect} */
export function coverCrop(pictureWidth, pictureHeight, width, height) {
  const scale = Math.min(pictureWidth / width, pictureHeight / height);
  const [cropWidth, cropHeight] = [width * scale, height * scale];
  const [x, y] = [(pictureWidth - cropWidth) / 2, (pictureHeight - cropHeight) / 2];
  return { x, y, width: cropWidth, height: cropHeight };
}

/** Where a picture stands when it is seen whole inside `width` x `height`.
 * @param {number} pictureWidth @param {number} pictureHeight @param {number} width @param {number} height
 * @returns {Rect} */
export function containBox(pictureWidth, pictureHeight, width, height) {
  const scale = Math.min(width / pictureWidth, height / pictureHeight);
  const [boxWidth, boxHeight] = [pictureWidth * scale, pictureHeight * scale];
  return { x: (width - boxWidth) / 2, y: (height - boxHeight) / 2, width: boxWidth, height: boxHeight };
}

/** What to upload for an output of this format: which part of the picture, and how many pixels. Never enlarges.
 * @param {number} pictureWidth @param {number} pictureHeight
 * @param {{width: number, height: number, fit: "cover" | "contain"}} format
 * @returns {{crop: Rect, width: number, height: number}} */
export function uploadPlan(pictureWidth, pictureHeight, format) {
  const whole = { x: 0, y: 0, width: pictureWidth, height: pictureHeight };
  const crop = format.fit === "cover" ? coverCrop(pictureWidth, pictureHeight, format.width, format.height) : whole;
  const scale = Math.min(1, format.width / crop.width, format.height / crop.height);
  const side = (/** @type {number} */ length) => Math.max(1, Math.round(length * scale));
  return { crop, width: side(crop.width), height: side(crop.height) };
}
