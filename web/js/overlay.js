// The overlay for OBS: a viewer of one session that comes back for ever and never shows anything but the picture.
// Its options stand in the fragment, see overlay-options.js and docs/obs.md.

import { byId, socketUrl } from "./dom.js";
import { overlayOptions } from "./overlay-options.js";
import { keep, picture } from "./picture.js";
import { Playout } from "./playout.js";
import { connect } from "./streamgen.js";
import { unpacker } from "./unpack.js";
import { watchVisibility } from "./visibility.js";

/** @import {OverlayOptions} from "./overlay-options.js" */
/** @import {Kept, Picture} from "./picture.js" */
/** @import {Output, State} from "./types.js" */

const canvas = byId("screen", HTMLCanvasElement);
const card = byId("card", HTMLElement);
const screen = unpacker(canvas);
const clock = {
  now: () => performance.now(),
  setTimeout: (/** @type {() => void} */ run, /** @type {number} */ ms) => setTimeout(run, ms),
  clearTimeout: (/** @type {any} */ timer) => clearTimeout(timer),
};

/** One session on the screen. Call `close` before another takes its place. */
class Overlay {
  /** @type {Playout<Kept & {output: Output}>} */ #playout;
  #closed = false;

  /** @param {OverlayOptions} options */
  constructor(options) {
    this.options = options;
    this.#playout = new Playout(options, (kept) => this.#play(kept), clock);
    Object.assign(canvas.dataset, { fit: options.fit, mirror: options.mirror, shown: false });
    card.hidden = true;
    const { session, token, transport } = options;
    const viewer = /** @type {const} */ ({ role: "view", session, token, transport, alpha: true, client: "overlay" });
    this.stream = connect(socketUrl(), {
      ...viewer,
      maxBackoffMs: 5000,
      comesBack: () => true,
      onOutput: (output) => this.#show(output),
      onState: (state) => this.#state(state),
    });
  }

  /** Nobody sees it while it is hidden: spend nothing, and go on with the newest picture. @param {boolean} visible */
  set visible(visible) {
    this.#playout.clear();
    (visible ? this.stream.resume() : this.stream.pause()).catch(() => {}); // the next connection is told again
  }

  close() {
    this.#closed = true;
    this.#playout.clear();
    this.stream.close();
  }

  /** @param {Output} output */
  async #show(output) {
    const { delayMs, fps } = this.options;
    if (delayMs === 0 && fps === Infinity) this.#paint(await picture(output), output);
    else this.#playout.put({ ...(await keep(output)), output });
  }

  /** @param {Kept & {output: Output}} kept */
  async #play(kept) {
    try {
      this.#paint(await kept.picture(), kept.output);
    } catch (error) {
      console.warn("streamgen: a picture could not be painted:", error);
    }
  }

  /** @param {Picture} picture @param {Output} output */
  #paint(picture, output) {
    if (!this.#closed) {
      screen.paint(picture);
      const { seq, settingsRev } = output;
      Object.assign(canvas.dataset, { shown: true, ...(seq === null ? {} : { seq, rev: settingsRev }) });
      card.hidden = true;
    }
    picture.close();
  }

  /** @param {State} state */
  #state(state) {
    canvas.dataset.state = state;
    if (state !== "reconnecting") return;
    const { lost } = this.options;
    if (lost === "freeze") return;
    this.#playout.clear(); // or what still waits would be seen again
    canvas.dataset.shown = "false";
    card.hidden = lost !== "card";
  }
}

/** @returns {Overlay | null} */
function begin() {
  const options = overlayOptions(location.hash);
  return options.session ? new Overlay(options) : null;
}

let overlay = begin();
let visible = true;
watchVisibility((now) => {
  if (now === visible) return;
  visible = now;
  if (overlay) overlay.visible = now;
});
addEventListener("hashchange", () => {
  overlay?.close();
  overlay = begin();
  if (overlay && !visible) overlay.visible = false;
});
