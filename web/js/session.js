// What a stream knows of its session, and how it asks for it. Pure.

/** @import {Format, Options, Reformatted, Restyled, Settings, Switched, Updated, Welcome} from "./types.js" */

export class Session {
  /** @type {Welcome | null} as things are now */ welcome = null;
  /** @type {string | undefined} takes the session over */ resume;
  /** @type {Settings} in force on the server, as last heard */ settings;
  /** @type {Partial<Format> | undefined} */ #format;

  /** @param {Options} options */
  constructor(options) {
    this.options = options;
    this.resume = options.resume;
    this.settings = options.settings ?? {};
    this.#format = options.format;
  }

  /** Before the first welcome the one asked for. */
  get name() {
    return this.welcome?.session ?? this.options.session;
  }

  get hello() {
    const { role = "publish", codec = "jpeg", client = "streamgen.js", alpha, queue } = this.options;
    const asked = { format: this.#format, settings: this.settings, resume: this.resume, ...(queue ? { queue } : {}) };
    const own = role === "publish" ? asked : {};
    return { type: "hello", role, session: this.name, codec, client, ...own, ...(alpha ? { alpha } : {}) };
  }

  /** @param {Welcome} welcome */
  welcomed(welcome) {
    this.welcome = welcome;
    this.resume = welcome.resume ?? undefined;
    this.settings = welcome.settings;
    this.#format = welcome.format;
  }

  /** @param {Updated} updated */
  updated(updated) {
    this.settings = updated.settings;
    return updated;
  }

  /** @param {Reformatted} reformatted */
  reformatted(reformatted) {
    const { format } = reformatted;
    this.#format = format;
    this.#learn({ format });
    return reformatted;
  }

  /** @param {Switched} switched */
  switched(switched) {
    const { model, styles, unused, loras, reference } = switched;
    this.#learn({ model, styles, unused, loras, reference });
    return switched;
  }

  /** @param {Restyled} restyled */
  restyled(restyled) {
    this.#learn({ styles: restyled.styles });
    return restyled;
  }

  /** Whether its outputs are made from what WebRTC sends. */
  get sendsVideo() {
    const { role = "publish" } = this.options;
    return role === "publish" && this.settings.source !== "prompt";
  }

  /** Whether a picture of this size has its alpha beside it. @param {{width: number, height: number}} picture */
  packed({ width, height }) {
    const format = this.welcome?.format;
    const packs = this.options.alpha && this.settings.alpha === true;
    return Boolean(packs && format && width === 2 * format.width && height === format.height);
  }

  /** What of it is of use to send over WebRTC. */
  get sending() {
    const { max_fps: maxFps } = this.settings;
    return { maxFps: typeof maxFps === "number" ? maxFps : undefined, format: this.welcome?.format };
  }

  /** @param {Partial<Welcome>} facts */
  #learn(facts) {
    if (this.welcome) this.welcome = { ...this.welcome, ...facts };
  }
}
