// The page: a source, a stream, a screen, and what the visitor does with them.

import { Capture } from "./capture.js";
import { byId, press, setIcon } from "./dom.js";
import { Hud } from "./hud.js";
import { identify, overlayUrl } from "./identity.js";
import { listen } from "./keys.js";
import { Look } from "./look.js";
import { FormatPanel, SettingsPanel } from "./panel.js";
import { download, fileName, startRecording } from "./record.js";
import { Screen } from "./screen.js";
import { SourcePicker } from "./picker.js";
import { connect } from "./streamgen.js";
import { toast } from "./toasts.js";

/** @import {Format, Output, Settings, State, StateDetail, Welcome} from "./types.js" */
/** @import {Stream, StreamError} from "./streamgen.js" */
/** @import {Source} from "./sources.js" */
/** @import {Identity} from "./identity.js" */

const KEPT_SETTINGS = "streamgen.settings";
const STATS_MS = 1000;
const TAKEN = 4409;

/** @type {Readonly<Record<number, string>>} */
const CLOSED = Object.freeze({
  4400: "The server and this page do not understand each other. Reload the page.",
  4401: "The server asks for a token that this page does not have.",
  4403: "The server does not accept pages from this address.",
});

class Page {
  /** @type {Stream | null} */ stream = null;
  /** @type {Identity | null} */ identity = null;
  /** @type {ReturnType<typeof startRecording> | null} */ recording = null;
  /** @type {() => void} what the notice's first button does */ retry = () => {};
  lost = false;

  /** @param {any} schema */
  constructor(schema) {
    this.screen = new Screen();
    this.settings = new SettingsPanel(schema, (patch) => this.update(patch));
    this.format = new FormatPanel(schema.$defs.FrameFormat.properties, (format) => this.reformat(format));
    this.look = new Look((patch) => this.update(patch));
    const format = () => this.stream?.welcome?.format ?? this.format.format;
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
    byId("obs-url", HTMLInputElement).value = overlayUrl(this.identity.name);
    setInterval(() => this.#poll(), STATS_MS);
    addEventListener("online", () => this.stream?.retryNow());
    await this.picker.start();
  }

  /** @param {Source} source */
  use(source) {
    const { width, height } = source.picture();
    byId("notice", HTMLElement).hidden = true;
    this.screen.mirror = source.kind === "camera";
    this.format.source(width, height);
    this.hud.restart();
    this.capture.use(source);
    if (this.stream) this.reformat(this.format.format);
    else this.open();
  }

  open() {
    if (!this.identity) return;
    const { name, token } = this.identity;
    this.#showFormat(this.format.format);
    const url = new URL("ws", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    this.stream = connect(url, {
      session: name,
      resume: token,
      format: this.format.format,
      client: "web page",
      onWelcome: (welcome) => this.#welcomed(welcome),
      onOutput: (output) => this.#paint(output),
      onUpdated: (updated) => {
        this.#applied(updated.settings);
        this.look.understood(updated);
      },
      onReady: () => this.capture.ready(),
      onState: (state, detail) => this.#state(state, detail),
      onError: (error) => this.#failed(error),
      onWarning: ({ message }) => toast(capitalised(message)),
    });
  }

  /** @param {Settings} patch */
  update(patch) {
    if (typeof patch.max_fps === "number") this.capture.maxFps = patch.max_fps;
    this.stream?.update(patch).catch(() => this.#applied(this.stream?.settings ?? {}));
  }

  /** @param {Format} format */
  reformat(format) {
    const now = this.stream?.welcome?.format;
    this.#showFormat(format);
    if (now?.width === format.width && now.height === format.height && now.fit === format.fit) return;
    this.hud.restart();
    this.stream?.reformat(format);
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

  async record() {
    const recording = this.recording;
    this.recording = null;
    if (recording) {
      await recording.stop();
      toast("Recording saved");
    } else {
      try {
        this.recording = startRecording(this.screen.canvas);
      } catch (error) {
        toast(error instanceof Error ? capitalised(error.message) : String(error), "alert");
      }
    }
    press(byId("record", HTMLElement), this.recording !== null);
    byId("recording", HTMLElement).hidden = this.recording === null;
    this.#showRecordingTime();
  }

  async copyObsUrl() {
    if (!this.identity) return;
    const url = overlayUrl(this.identity.name);
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
      split: () => (this.screen.split = !this.screen.split),
      mirror: () => (this.screen.mirror = !this.screen.mirror),
      snapshot: () => this.snapshot(),
      record: () => this.record(),
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
    await this.screen.paint(output, this.capture.sent(output.sourceSeq));
    this.hud.painted(output);
    this.capture.took(output.engineUs / 1000);
    Object.assign(this.screen.canvas.dataset, { seq: output.seq, rev: output.settingsRev });
    byId("waiting", HTMLElement).hidden = true;
  }

  /** @param {Welcome} welcome */
  #welcomed(welcome) {
    this.identity?.remember(welcome.resume);
    this.look.offer(welcome.styles);
    this.screen.shape(welcome.format.width, welcome.format.height);
    this.#showFormat(welcome.format);
    byId("foot", HTMLElement).textContent = `Model ${welcome.model} · session ${welcome.session}`;
    this.hud.restart();
    const kept = welcome.resumed || welcome.rev > 0 ? null : recall();
    this.#applied(welcome.settings);
    if (kept) this.update(kept);
  }

  /** @param {Settings} settings in force */
  #applied(settings) {
    this.settings.show(settings);
    this.look.take(settings);
    if (typeof settings.max_fps === "number") this.capture.maxFps = settings.max_fps;
    localStorage.setItem(KEPT_SETTINGS, JSON.stringify(settings));
  }

  /** @param {State} state @param {StateDetail} detail */
  #state(state, { code }) {
    const names = { connecting: "Connecting", open: "Live", reconnecting: "Reconnecting", closed: "Disconnected" };
    if (state === "reconnecting") this.lost ||= code !== undefined; // a change of format has no code
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
      byId("obs-url", HTMLInputElement).value = overlayUrl(this.identity.name);
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

  /** @param {Format} format */
  #showFormat({ width, height }) {
    byId("format-now", HTMLElement).textContent = `${width} × ${height}`;
  }

  #showRecordingTime() {
    const seconds = Math.floor(this.recording?.seconds() ?? 0);
    const shown = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    byId("recording-time", HTMLElement).textContent = shown;
  }

  async #poll() {
    this.#showRecordingTime();
    if (this.stream?.state !== "open") return;
    const stats = await this.stream.stats().catch(() => null);
    if (stats) this.hud.stats(stats);
  }
}

/** The settings of the last visit. @returns {Settings | null} */
function recall() {
  try {
    return JSON.parse(localStorage.getItem(KEPT_SETTINGS) ?? "null");
  } catch {
    return null;
  }
}

/** Server messages are lowercase facts. @param {string} text */
function capitalised(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

async function main() {
  const response = await fetch(new URL("api/v1/settings-schema", document.baseURI));
  if (!response.ok) throw new Error(`the server answered ${response.status} for its settings`);
  await new Page(await response.json()).start();
}

addEventListener("unhandledrejection", ({ reason }) => {
  toast(`Something failed: ${reason?.message ?? reason}`, "alert");
});
main().catch((error) => toast(`The page could not start: ${error.message}`, "alert"));
