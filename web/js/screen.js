// The picture on the page: paints outputs, before and after side by side, mirrored or not.

import { byId, press } from "./dom.js";
import { picture } from "./picture.js";
import { containBox } from "./sizes.js";
import { unpacker } from "./unpack.js";

/** @import {Picture} from "./picture.js" */
/** @import {Unpacker} from "./unpack.js" */
/** @import {Output} from "./types.js" */

const KEY_STEP = 5;

export class Screen {
  #canvas = byId("screen", HTMLCanvasElement);
  #stage = byId("stage", HTMLElement);
  #picture = byId("picture", HTMLElement);
  #divider = byId("divider", HTMLElement);
  #context = /** @type {CanvasRenderingContext2D} */ (this.#canvas.getContext("2d"));
  /** @type {Unpacker<OffscreenCanvas> | null} */ #workshop = null;
  #at = 50;
  #split = false;
  #mirror = false;
  /** Counts what is shown one after the other, with nothing between. */
  #scene = 0;
  /** @type {Picture | null} */ #after = null;
  /** @type {CanvasImageSource & {width: number, height: number} | null} */ #before = null;

  constructor() {
    this.#context.imageSmoothingQuality = "high";
    const follow = (/** @type {PointerEvent} */ event) => {
      const box = this.#picture.getBoundingClientRect();
      this.#moveTo(((event.clientX - box.left) / box.width) * 100);
    };
    this.#divider.addEventListener("pointerdown", (event) => {
      this.#divider.setPointerCapture(event.pointerId);
      this.#divider.onpointermove = follow;
    });
    this.#divider.addEventListener("lostpointercapture", () => (this.#divider.onpointermove = null));
    this.#divider.addEventListener("keydown", (event) => this.#key(event));
  }

  get canvas() {
    return this.#canvas;
  }
  /** The newest output. @returns {OffscreenCanvas | null} */
  get output() {
    if (!this.#after) return null;
    const { source, width, height } = this.#after;
    const copy = new OffscreenCanvas(width, height);
    copy.getContext("2d")?.drawImage(source, 0, 0, width, height);
    return copy;
  }
  get split() {
    return this.#split;
  }
  get mirror() {
    return this.#mirror;
  }

  /** Whether there is a before to compare with. @param {boolean} possible */
  set comparable(possible) {
    const button = byId("split", HTMLButtonElement);
    button.hidden = button.disabled = !possible; // its key presses it as well
    this.#before = null;
    if (!possible) this.split = false;
  }

  /** @param {boolean} on */
  set split(on) {
    this.#split = on;
    for (const id of ["divider", "tag-before", "tag-after"]) byId(id, HTMLElement).hidden = !on;
    press(byId("split", HTMLElement), on);
    this.#draw();
  }

  /** @param {boolean} on */
  set mirror(on) {
    this.#mirror = on;
    press(byId("mirror", HTMLElement), on);
    this.#draw();
  }

  /** Give the picture its shape before anything is painted. @param {number} width @param {number} height */
  shape(width, height) {
    if (this.#canvas.width === width && this.#canvas.height === height) return;
    this.#canvas.width = width;
    this.#canvas.height = height;
    this.#stage.style.setProperty("--aspect", String(width / height));
    this.#draw();
  }

  /** Show nothing: something else comes next. */
  clear() {
    this.#scene += 1;
    this.#after?.close();
    this.#after = this.#before = null;
    this.#context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
  }

  /** Decode and paint one output, unless the screen is cleared meanwhile.
   * @param {Output} output @param {OffscreenCanvas | null} before what it was made from
   * @returns {Promise<boolean>} whether it is shown */
  async paint(output, before) {
    const scene = this.#scene;
    const made = await picture(output);
    if (scene !== this.#scene) {
      made.close();
      return false;
    }
    this.#after?.close();
    this.#after = made.packed ? this.#unpacked(made) : made;
    this.#before = before ?? this.#before;
    this.#canvas.dataset.transparent = String(made.packed);
    this.shape(made.width, made.height);
    this.#draw();
    return true;
  }

  /** @param {Picture} packed @returns {Picture} */
  #unpacked(packed) {
    this.#workshop ??= unpacker(new OffscreenCanvas(1, 1));
    this.#workshop.paint(packed);
    packed.close();
    const source = this.#workshop.canvas.transferToImageBitmap();
    return { ...packed, source, packed: false, close: () => source.close() };
  }

  #draw() {
    if (!this.#after) return;
    const { width, height } = this.#canvas;
    const context = this.#context;
    context.setTransform(this.#mirror ? -1 : 1, 0, 0, 1, this.#mirror ? width : 0, 0);
    context.clearRect(0, 0, width, height);
    context.drawImage(this.#after.source, 0, 0, width, height);
    if (this.#split && this.#before) this.#drawBefore(context, this.#before, width, height);
  }

  /** @param {CanvasRenderingContext2D} context @param {CanvasImageSource & {width: number, height: number}} before
   * @param {number} width @param {number} height */
  #drawBefore(context, before, width, height) {
    const shown = (width * this.#at) / 100;
    context.save();
    context.beginPath();
    context.rect(this.#mirror ? width - shown : 0, 0, shown, height);
    context.clip();
    context.fillRect(0, 0, width, height);
    const box = containBox(before.width, before.height, width, height);
    context.drawImage(before, box.x, box.y, box.width, box.height);
    context.restore();
  }

  /** @param {number} percent */
  #moveTo(percent) {
    this.#at = Math.min(100, Math.max(0, percent));
    this.#divider.style.setProperty("--at", `${this.#at}%`);
    this.#divider.setAttribute("aria-valuenow", String(Math.round(this.#at)));
    this.#draw();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    /** @type {Record<string, number>} */
    const targets = {
      ArrowLeft: this.#at - KEY_STEP,
      ArrowDown: this.#at - KEY_STEP,
      ArrowRight: this.#at + KEY_STEP,
      ArrowUp: this.#at + KEY_STEP,
      Home: 0,
      End: 100,
    };
    if (!(event.key in targets)) return;
    event.preventDefault();
    this.#moveTo(targets[event.key]);
  }
}
