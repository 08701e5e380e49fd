// The page: a source, a stream, a screen, and what the visitor does with them.

import { Capture } from "./capture.js";
import { byId, press, setIcon } from "./dom.js";
import { Feed } from "./feed.js";
import { Hud } from "./hud.js";
import { identify, overlayUrl } from "./identity.js";
import { listen } from "./keys.js";
import { Look } from "./look.js";
import { known, LoraPanel } from "./loras.js";
import { ModelMenu } from "./models.js";
import { NegativePrompt } from "./negative.js";
import { FormatPanel, SettingsPanel } from "./panel.js";
import { PathControl } from "./path.js";
import { download, fileName, RecordButton } from "./record.js";
import { ReferenceField } from "./reference-field.js";
import { Screen } from "./screen.js";
import { SourcePicker } from "./picker.js";
import { connect, mergeSettings } from "./streamgen.js";
import { capitalised, toast } from "./toasts.js";

/** @import {Format, Output, Settings, State, StateDetail, Welcome} from "./types.js" */
/** @import {Stream, StreamError} from "./streamgen.js" */
/** @import {Source} from "./sources.js" */
/** @import {Identity} from "./identity.js" */

const KEPT_SETTINGS = "streamgen.settings";
const STATS_MS = 1000;
const TAKEN = 4409;

/** What the page's address says: transport=auto|webrtc|websocket, token=... */
const GIVEN = new URLSearchParams(location.hash.slice(1));
const TOKEN = GIVEN.get("token") ?? undefined;

/** @type {Readonly<Record<number, string>>} */
const CLOSED = Object.freeze({
  4400: "The server and this page do not understand each other. Reload the page.",
  4401: "The server asks for a token that this page does not have.",
  4403: "The server does not accept pages from this address.",
});

class Page {
  /** @type {Stream | null} */ stream = null;
  /** @type {Identity | null} */ identity = null;
  /** @type {() => void} what the notice's first button does */ retry = () => {};
  /** @type {Settings} in force, with what was asked for since */ wanted = {};
  /** @type {Set<object>} changes that the server has not answered yet */ unconfirmed = new Set();
  /** @type {Format | undefined} likewise */ wantedFormat;
  lost = false;
  feed = new Feed();
  path = new PathControl(GIVEN.get("transport"), (wish) => this.stream?.useTransport(wish));

  /** @param {any} schema */
  constructor(schema) {
    const update = (/** @type {Settings} */ patch) => this.update(patch);
    this.screen = new Screen();
    this.recorder = new RecordButton(this.screen.canvas);
    this.settings = new SettingsPanel(schema, update, (defaults) => this.reset(defaults));
    this.format = new FormatPanel(schema.$defs.FrameFormat.properties, (format) => this.reformat(format));
    this.look = new Look(update);
    this.negative = new NegativePrompt(update);
    this.loras = new LoraPanel(update);
    const refer = (/** @type {Uint8Array | null} */ jpeg) => this.stream?.reference(jpeg) ?? Promise.resolve();
    this.reference = new ReferenceField(refer, () => this.screen.output);
    this.models = new ModelMenu((model) => this.stream?.switchModel(model) ?? Promise.resolve());
    const format = () => this.stream?.format ?? this.format.format;
    this.capture = new Capture(() => this.stream, format, () => this.hud.sent());
    this.hud = new Hud(() => this.capture.skipped + (this.stream?.counters.replaced ?? 0));
    this.picker = new SourcePicker({
      opened: (source) => this.use(source),
      failed: (title, text, retry) => this.notice(title, text, retry),
    });
  }

  async start() {
    this.#wire();
    this.identity = await identify();
    byId("obs-url", HTMLInputElement).value = overlayUrl(this.identity.name, TOKEN);
    setInterval(() => this.#poll(), STATS_MS);
    addEventListener("online", () => this.stream?.retryNow());
    await this.picker.start();
  }

  /** @param {Source} source */
  use(source) {
    const picture = source.picture();
    byId("notice", HTMLElement).hidden = true;
    this.feed.origin = source.kind === "prompt" ? "prompt" : "frames";
    this.hud.origin = this.feed.origin;
    this.screen.mirror = source.kind === "camera";
    this.screen.comparable = picture !== null;
    this.capture.comparing = this.screen.split;
    if (picture) this.format.source(picture.width, picture.height);
    this.capture.use(picture ? source : null);
    if (!this.stream) return this.open();
    this.stream.replaceTrack(this.capture.track).catch(() => {}); // the connection ended: the next one sends it
    this.#arrange();
    this.update(this.feed.patch(this.wanted));
    this.reformat(this.format.format);
  }

  open() {
    if (!this.identity) return;
    const { name, token } = this.identity;
    this.wantedFormat = this.format.format;
    this.reference.renew();
    const url = new URL("ws", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    this.stream = connect(url, {
      session: name,
      resume: token,
      format: this.wantedFormat,
      client: "web page",
      alpha: true,
      token: TOKEN,
      transport: this.path.wish,
      track: this.capture.track,
      onTransport: (kind, reason) => {
        this.capture.transport = this.hud.transport = kind;
        this.path.show(kind, reason);
      },
      onWelcome: (welcome) => this.#welcomed(welcome),
      onOutput: (output) => this.#paint(output),
      onUpdated: (updated) => {
        // An answer to an earlier change would turn back what the hand has just moved.
        if (!this.unconfirmed.size) this.#applied(updated.settings);
        this.look.understood(updated);
      },
      onReformatted: ({ format }) => {
        this.#showFormat(format);
        this.hud.restart();
      },
      onSwitched: () => this.#showModel(),
      onReady: () => this.capture.ready(),
      onState: (state, detail) => this.#state(state, detail),
      onError: (error) => this.#failed(error),
      onWarning: ({ message }) => toast(capitalised(message)),
    });
  }

  /** @param {Settings} patch */
  update(patch) {
    if (!this.stream || !Object.keys(patch).length) return;
    if (typeof patch.max_fps === "number") this.capture.maxFps = patch.max_fps;
    this.wanted = mergeSettings(this.wanted, patch);
    const change = {};
    this.unconfirmed.add(change);
    this.stream
      .update(patch)
      .catch(() => (this.wanted = this.stream?.settings ?? {}))
      .finally(() => {
        this.unconfirmed.delete(change);
        if (!this.unconfirmed.size) this.#applied(this.stream?.settings ?? {});
      });
  }

  /** @param {Settings} defaults */
  reset(defaults) {
    const settings = { ...defaults, seed_speed: this.feed.travel };
    this.settings.show(settings);
    this.update(settings);
  }

  /** @param {Format} format */
  reformat(format) {
    if (JSON.stringify(format) === JSON.stringify(this.wantedFormat)) return;
    this.wantedFormat = format;
    if (!this.stream) return;
    this.#showFormat(format, "…");
    this.stream.reformat(format).catch(() => {
      this.wantedFormat = this.stream?.format;
      if (this.wantedFormat) this.#showFormat(this.wantedFormat);
    });
  }

  /** @param {string} title @param {string} text @param {() => void} retry */
  notice(title, text, retry) {
    byId("notice-title", HTMLElement).textContent = title;
    byId("notice-text", HTMLElement).textContent = text;
    byId("notice", HTMLElement).hidden = false;
    this.retry = retry;
  }

  pause() {
    if (!this.stream) return;
    const paused = !this.stream.paused;
    this.capture.running = !paused;
    const button = byId("pause", HTMLElement);
    press(button, paused);
    setIcon(button, paused ? "i-play" : "i-pause");
    byId("paused", HTMLElement).hidden = !paused;
    (paused ? this.stream.pause() : this.stream.resume()).catch(() => {});
    if (!paused) this.hud.restart();
  }

  async snapshot() {
    const snapshot = await this.stream?.snapshot().catch(() => null);
    if (!snapshot) return;
    download(new Blob([snapshot.data], { type: "image/png" }), fileName("png"));
    toast(`Snapshot saved, ${snapshot.width} × ${snapshot.height}`);
  }

  async copyObsUrl() {
    if (!this.identity) return;
    const url = overlayUrl(this.identity.name, TOKEN);
    try {
      await navigator.clipboard.writeText(url);
      toast("Copied. In OBS, add a Browser source with this URL.");
    } catch {
      this.help(); // no clipboard on this page: show the address to copy by hand
      byId("obs-url", HTMLInputElement).select();
    }
  }

  help() {
    byId("help-dialog", HTMLDialogElement).showModal();
  }

  fullscreen() {
    const stage = byId("stage", HTMLElement);
    const change = document.fullscreenElement ? document.exitFullscreen() : stage.requestFullscreen?.();
    change?.catch(() => toast("This browser refuses full screen here", "alert"));
  }

  #wire() {
    /** @type {Record<string, () => unknown>} */
    const actions = {
      pause: () => this.pause(),
      split: () => (this.capture.comparing = this.screen.split = !this.screen.split),
      mirror: () => (this.screen.mirror = !this.screen.mirror),
      snapshot: () => this.snapshot(),
      fullscreen: () => this.fullscreen(),
      "copy-obs": () => this.copyObsUrl(),
      help: () => this.help(),
      "notice-retry": () => this.retry(),
      "notice-close": () => (byId("notice", HTMLElement).hidden = true),
    };
    for (const [id, run] of Object.entries(actions)) byId(id, HTMLElement).addEventListener("click", run);
    const does = (/** @type {string} */ id) => () => byId(id, HTMLElement).click();
    listen([
      { key: " ", shown: "Space", does: "Pause and go on", run: does("pause") },
      { key: "/", does: "Write a prompt", run: () => this.look.focus() },
      { key: "b", does: "Before and after", run: does("split") },
      { key: "m", does: "Mirror", run: does("mirror") },
      { key: "s", does: "Save a snapshot", run: does("snapshot") },
      { key: "r", does: "Record, and stop recording", run: does("record") },
      { key: "f", does: "Full screen", run: does("fullscreen") },
      { key: "o", does: "Copy the OBS URL", run: does("copy-obs") },
      { key: "?", does: "This help", run: does("help") },
    ]);
  }

  /** @param {Output} output */
  async #paint(output) {
    await this.screen.paint(output, this.capture.before(output));
    this.hud.painted(output);
    if (output.engineUs !== null) this.capture.took(output.engineUs / 1000);
    if (output.seq !== null) Object.assign(this.screen.canvas.dataset, { seq: output.seq, rev: output.settingsRev });
    byId("waiting", HTMLElement).hidden = true;
  }

  /** @param {Welcome} welcome */
  #welcomed(welcome) {
    this.identity?.remember(welcome.resume);
    this.#showModel();
    this.#showFormat(welcome.format);
    this.hud.restart();
    const kept = welcome.resumed || welcome.rev > 0 ? {} : recall(welcome);
    this.wanted = welcome.settings;
    this.unconfirmed.clear();
    this.#applied(welcome.settings);
    this.update({ ...kept, ...this.feed.patch({ ...welcome.settings, ...kept }) });
  }

  /** What depends on the model the server has now. */
  #showModel() {
    const welcome = this.stream?.welcome;
    if (!welcome) return;
    this.models.offer(welcome.models, welcome.model);
    this.look.offer(welcome.styles);
    this.loras.offer(welcome.loras);
    this.reference.offer(welcome.reference);
    this.#arrange(welcome.unused);
    byId("foot", HTMLElement).textContent = `Model ${welcome.model} · session ${welcome.session}`;
  }

  /** Show what is of use with this model and this source.
   * @param {string[] | undefined} [unused] nothing is shown before it is known */
  #arrange(unused = this.stream?.welcome?.unused) {
    if (!unused) return;
    this.settings.arrange({ unused, origin: this.feed.origin });
    for (const element of document.querySelectorAll("[data-needs]")) {
      if (element instanceof HTMLElement) element.hidden = unused.includes(element.dataset.needs ?? "");
    }
  }

  /** @param {Settings} settings in force */
  #applied(settings) {
    this.settings.show(settings);
    this.look.take(settings);
    this.negative.show(settings);
    this.loras.show(settings);
    this.hud.settings = settings;
    if (typeof settings.max_fps === "number") this.capture.maxFps = settings.max_fps;
    localStorage.setItem(KEPT_SETTINGS, JSON.stringify(settings));
  }

  /** @param {State} state @param {StateDetail} detail */
  #state(state, { code }) {
    const names = { connecting: "Connecting", open: "Live", reconnecting: "Reconnecting", closed: "Disconnected" };
    if (state === "reconnecting") this.lost = true;
    else if (state !== "connecting") this.lost = false;
    this.hud.live = state === "open";
    byId("connection", HTMLElement).dataset.state = state;
    byId("stage", HTMLElement).dataset.state = state;
    byId("connection-text", HTMLElement).textContent = this.lost ? "Reconnecting… is the server running?" : names[state];
    if (state === "closed") void this.#closed(code ?? 1000);
  }

  /** @param {number} code */
  async #closed(code) {
    if (code === TAKEN) {
      this.identity = await identify(true);
      byId("obs-url", HTMLInputElement).value = overlayUrl(this.identity.name, TOKEN);
      toast("This session's name is in use elsewhere; this tab has a new OBS URL.");
      return this.open();
    }
    this.notice("The session has ended", CLOSED[code] ?? "Start a new one to go on.", () => {
      byId("notice", HTMLElement).hidden = true;
      this.open();
    });
  }

  /** @param {StreamError} error */
  #failed(error) {
    if (error.code === "publisher_exists") return; // the close code that follows says so, and is dealt with
    if (error.code === "unknown_setting") localStorage.removeItem(KEPT_SETTINGS);
    toast(capitalised(error.message), "alert");
  }

  /** @param {Format} format @param {string} [more] that it is not in force yet */
  #showFormat({ width, height }, more = "") {
    byId("format-now", HTMLElement).textContent = `${width} × ${height}${more}`;
  }

  async #poll() {
    if (this.stream?.state === "open") await this.hud.poll(this.stream);
  }
}

/** The settings of the last visit, as far as this server can have them. @param {Welcome} welcome @returns {Settings} */
function recall({ loras }) {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT_SETTINGS) ?? "{}");
    return "loras" in kept ? { ...kept, loras: known(kept.loras, loras) } : kept;
  } catch {
    return {};
  }
}

async function main() {
  const headers = TOKEN ? { Authorization: `Bearer ${TOKEN}` } : undefined;
  const response = await fetch(new URL("api/v1/settings-schema", document.baseURI), { headers });
  if (!response.ok) throw new Error(`the server answered ${response.status} for its settings`);
  await new Page(await response.json()).start();
}

addEventListener("unhandledrejection", ({ reason }) => {
  toast(`Something failed: ${reason?.message ?? reason}`, "alert");
});
main().catch((error) => toast(`The page could not start: ${error.message}`, "alert"));
