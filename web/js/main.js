// The page: a source, a stream, a screen, and what the visitor does with them.

import { Actions } from "./actions.js";
import { ask } from "./api.js";
import { Capture } from "./capture.js";
import { byId, socketUrl } from "./dom.js";
import { Feed } from "./feed.js";
import { Hud } from "./hud.js";
import { identify, overlayUrl } from "./identity.js";
import { Look } from "./look.js";
import { LoraPanel } from "./loras.js";
import { ModelMenu } from "./models.js";
import { NegativePrompt } from "./negative.js";
import { Notice } from "./notice.js";
import { ObsGuide } from "./obs-guide.js";
import { FormatPanel, SettingsPanel } from "./panel.js";
import { PathControl } from "./path.js";
import { PauseButton } from "./pause.js";
import { SourcePicker } from "./picker.js";
import { PresetMenu } from "./presets.js";
import { RecordButton } from "./record.js";
import { ReferenceField } from "./reference-field.js";
import { forget, recall, remember } from "./remembered.js";
import { Screen } from "./screen.js";
import { Status } from "./status.js";
import { connect, mergeSettings } from "./streamgen.js";
import { capitalised, toast } from "./toasts.js";

/** @import {Format, Output, Settings, State, StateDetail, Welcome} from "./types.js" */
/** @import {Stream, StreamgenError} from "./streamgen.js" */
/** @import {Kind, Source} from "./sources.js" */
/** @import {Origin} from "./feed.js" */
/** @import {Identity} from "./identity.js" */
/** @import {Arrival} from "./obs-guide.js" */

const STATS_MS = 1000;
const NO_SESSION = 4404;
const TAKEN = 4409;
const AGAIN_MS = 1000;
/** Between two looks whether OBS sends. */
const LOOK_MS = 2000;
/** @type {Readonly<Partial<Record<Kind, Origin>>>} */
const ORIGINS = Object.freeze({ prompt: "prompt", obs: "other" });

/** What the page's address says: transport=auto|webrtc|websocket, token=..., control=the session that OBS sends into */
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
  /** @type {string | null} that another program publishes and this page steers, null: it publishes */ steered = null;
  /** @type {Settings} in force, with what was asked for since */ wanted = {};
  /** @type {Set<object>} changes that the server has not answered yet */ unconfirmed = new Set();
  /** @type {Format | undefined} likewise */ wantedFormat;
  /** The server has just refused this session's name. */
  refused = false;
  feed = new Feed();
  status = new Status();
  notice = new Notice();
  path = new PathControl(GIVEN.get("transport"), (wish) => this.stream?.useTransport(wish));

  /** @param {any} schema */
  constructor(schema) {
    const update = (/** @type {Settings} */ patch) => this.update(patch);
    this.screen = new Screen();
    this.recorder = new RecordButton(this.screen.canvas);
    this.settings = new SettingsPanel(schema, update, (defaults) => this.reset(defaults));
    this.format = new FormatPanel(schema.$defs.FrameFormat.properties, (change) => this.reformat(change));
    this.look = new Look(update);
    this.negative = new NegativePrompt(update);
    this.loras = new LoraPanel(update);
    this.presets = new PresetMenu(TOKEN, () => this.wanted, update);
    const refer = (/** @type {Uint8Array | null} */ jpeg) => this.stream?.reference(jpeg) ?? Promise.resolve();
    this.reference = new ReferenceField(refer, () => this.screen.output);
    this.models = new ModelMenu((model) => this.stream?.switch(model) ?? Promise.resolve());
    const format = () => this.stream?.format ?? this.format.format;
    this.capture = new Capture(() => this.stream, format, () => this.hud.sent());
    this.hud = new Hud(() => this.capture.skipped + (this.stream?.statistics.replaced ?? 0));
    this.pauseButton = new PauseButton(() => this.pause());
    this.actions = new Actions(this.screen, {
      stream: () => this.stream,
      compare: () => (this.capture.comparing = this.screen.split = !this.screen.split),
      write: () => this.look.focus(),
    });
    this.obs = new ObsGuide(TOKEN, () => this.picker.choose("obs"));
    this.picker = new SourcePicker({
      opened: (source) => this.use(source),
      failed: (title, text, retry) => this.notice.show(title, text, retry),
      session: () => this.obs.session,
    });
  }

  async start() {
    this.identity = await identify();
    setInterval(() => this.#poll(), STATS_MS);
    addEventListener("online", () => this.stream?.retryNow());
    addEventListener("hashchange", () => this.#asked() && this.picker.choose("obs"));
    await (this.#asked() ? this.picker.choose("obs") : this.picker.start());
  }

  /** Take over the session's name that the page's address may name. */
  #asked() {
    const session = new URLSearchParams(location.hash.slice(1)).get("control");
    if (session) this.obs.session = session;
    return session !== null;
  }

  /** @param {Source} source */
  use(source) {
    const picture = source.picture();
    const steered = source.kind === "obs" ? source.label : null;
    this.notice.hide();
    if (this.stream && steered !== null && steered === this.steered) return this.obs.open();
    this.feed.origin = ORIGINS[source.kind] ?? "frames";
    this.hud.origin = this.feed.origin;
    this.screen.mirror = source.kind === "camera";
    this.screen.comparable = picture !== null;
    this.capture.comparing = this.screen.split;
    if (picture) this.format.source(picture.width, picture.height);
    this.capture.use(picture ? source : null);
    if (!this.stream || steered !== this.steered) return this.#begin(steered);
    this.stream.replaceTrack(this.capture.track).catch(() => {}); // the connection ended: the next one sends it
    this.#arrange();
    this.update(this.feed.patch(this.wanted));
    this.reformat(this.format.format);
  }

  /** Publish this page's own session, or steer another. @param {string | null} steered its name */
  #begin(steered) {
    const left = this.stream;
    this.stream = null;
    left?.close();
    this.steered = steered;
    const own = steered === null;
    this.#blank();
    for (const id of ["foot", "format-now"]) byId(id, HTMLElement).textContent = ""; // until they are known
    byId("waiting-text", HTMLElement).textContent = own ? "Waiting for the first picture" : "Waiting for OBS";
    this.pauseButton.own = own;
    this.#showPaused(false);
    this.hud.live = false;
    this.status.waiting = !own;
    this.obs.leave();
    if (own) this.format.unfollow();
    else this.obs.open();
    this.open();
  }

  open() {
    if (!this.identity) return;
    const own = this.steered === null;
    const { name, token } = this.identity;
    this.wantedFormat = own ? this.format.format : undefined;
    this.wanted = {};
    this.unconfirmed.clear();
    this.status.restart();
    this.reference.renew(own);
    this.actions.overlay = overlayUrl(this.session, TOKEN);
    const publish = { session: name, resume: token, format: this.wantedFormat, track: this.capture.track, queue: true };
    const steer = /** @type {const} */ ({ role: "control", session: this.session, maxBackoffMs: LOOK_MS });
    const stream = connect(socketUrl(), {
      ...(own ? publish : steer),
      client: "web page",
      alpha: true,
      token: TOKEN,
      transport: this.path.wish,
      onTransport: (kind, reason) => {
        this.capture.transport = this.hud.transport = kind;
        this.path.show(kind, reason);
      },
      onQueued: ({ position }) => toast(position > 1 ? `Waiting: ${position - 1} before you` : "Waiting: you are next"),
      onWelcome: (welcome) => this.#welcomed(welcome),
      onOutput: (output) => this.#paint(output),
      onUpdated: (updated) => {
        // An answer to an earlier change would turn back what the hand has just moved.
        if (!this.unconfirmed.size) this.#applied(updated.settings);
        this.look.understood(updated);
      },
      onReformatted: ({ format }) => {
        this.#formatted(format);
        this.hud.restart();
      },
      onSwitched: () => this.#showModel(),
      onRestyled: ({ styles }) => this.look.offer(styles),
      onReady: () => this.capture.ready(),
      onState: (state, detail) => stream === this.stream && this.#state(state, detail),
      onError: (error) => this.#failed(error),
      onWarning: ({ message }) => toast(capitalised(message)),
    });
    this.stream = stream;
  }

  /** The name of the session on the screen. */
  get session() {
    return this.steered ?? this.identity?.name ?? "";
  }

  /** @param {Settings} patch */
  update(patch) {
    const { stream } = this;
    if (!stream || !Object.keys(patch).length) return;
    if (typeof patch.max_fps === "number") this.capture.maxFps = patch.max_fps;
    this.wanted = mergeSettings(this.wanted, patch);
    const change = {};
    this.unconfirmed.add(change);
    stream
      .update(patch)
      .catch(() => stream === this.stream && (this.wanted = stream.settings))
      .finally(() => {
        if (this.unconfirmed.delete(change) && !this.unconfirmed.size) this.#applied(stream.settings);
      });
  }

  /** @param {Settings} defaults */
  reset(defaults) {
    const settings = { ...defaults, seed_speed: this.feed.travel };
    this.settings.show(settings);
    this.update(settings);
  }

  /** @param {Partial<Format>} change */
  reformat(change) {
    const { stream, wantedFormat } = this;
    if (!stream || !wantedFormat) return; // it is asked for by the hello, or not known yet
    const wanted = { ...wantedFormat, ...change };
    if (JSON.stringify(wanted) === JSON.stringify(wantedFormat)) return;
    this.wantedFormat = wanted;
    this.#showFormat(wanted, "…");
    stream.reformat(change).catch(() => stream === this.stream && stream.format && this.#formatted(stream.format));
  }

  pause() {
    if (!this.stream) return;
    const paused = !this.stream.paused;
    this.#showPaused(paused);
    (paused ? this.stream.pause() : this.stream.resume()).catch(() => {});
    if (!paused) this.hud.restart();
  }

  /** @param {boolean} paused */
  #showPaused(paused) {
    this.capture.running = !paused;
    this.pauseButton.paused = paused;
  }

  /** @param {Output} output */
  async #paint(output) {
    if (!(await this.screen.paint(output, this.capture.before(output)))) return;
    this.hud.painted(output);
    if (output.engineUs !== null) this.capture.took(output.engineUs / 1000);
    if (output.seq !== null) Object.assign(this.screen.canvas.dataset, { seq: output.seq, rev: output.settingsRev });
    byId("waiting", HTMLElement).hidden = true;
    this.#arrive("live");
  }

  /** Nothing is shown until the next picture. */
  #blank() {
    this.screen.clear();
    byId("waiting", HTMLElement).hidden = false;
  }

  /** @param {Arrival} arrival of the pictures that OBS sends */
  #arrive(arrival) {
    if (this.steered === null) return;
    this.obs.arrival = arrival;
    this.status.waiting = arrival !== "live";
  }

  /** OBS's session is over; another of its name may begin, with settings of its own. */
  #ended() {
    if (this.obs.arrival === "waiting") return;
    this.#arrive("waiting");
    this.#blank();
    this.reference.renew(false);
    if (this.stream?.paused) this.pause();
  }

  /** @param {Welcome} welcome */
  #welcomed(welcome) {
    const own = this.steered === null;
    this.refused = false;
    if (own) this.identity?.remember(welcome.resume);
    this.#showModel();
    this.#formatted(welcome.format);
    this.hud.restart();
    const kept = own && !welcome.resumed && welcome.rev === 0 ? recall(welcome) : {};
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
    this.negative.guided = !unused.includes("guidance_mode");
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
    if (this.steered === null) remember(settings);
  }

  /** @param {State} state @param {StateDetail} detail */
  #state(state, { code }) {
    this.hud.live = state === "open";
    this.status.show(state, code);
    if (state === "reconnecting" && code === NO_SESSION) this.#ended();
    if (state === "closed") this.#closed(code ?? 1000);
  }

  /** @param {number} code */
  #closed(code) {
    if (code === TAKEN) return void this.#taken();
    this.notice.show("The session has ended", CLOSED[code] ?? "Start a new one to go on.", () => {
      this.notice.hide();
      this.open();
    });
  }

  /** What holds the name may be a connection that this tab has just left: try once more before it takes another. */
  async #taken() {
    const { stream } = this;
    if (stream?.welcome || this.refused) {
      this.identity = await identify(true);
      toast("This session's name is in use elsewhere; this tab has a new OBS URL.");
    } else {
      this.refused = true;
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
    if (stream === this.stream) this.open();
  }

  /** @param {StreamgenError} error */
  #failed(error) {
    // The close code that follows says so, and is dealt with.
    if (error.code === "publisher_exists" || error.code === "no_such_session") return;
    if (error.code === "unknown_setting") forget();
    toast(capitalised(error.message), "alert");
  }

  /** @param {Format} format in force */
  #formatted(format) {
    this.wantedFormat = format;
    if (this.steered !== null) this.format.follow(format);
    this.#showFormat(format);
  }

  /** @param {Format} format @param {string} [more] that it is not in force yet */
  #showFormat({ width, height }, more = "") {
    byId("format-now", HTMLElement).textContent = `${width} × ${height}${more}`;
  }

  async #poll() {
    const { stream } = this;
    if (stream?.state !== "open") return;
    await this.hud.poll(stream);
    if (stream === this.stream && this.obs.arrival !== "waiting") this.#arrive(this.hud.dry ? "dry" : "live");
  }
}

async function main() {
  await new Page(await ask("settings-schema", { token: TOKEN })).start();
}

addEventListener("unhandledrejection", ({ reason }) => {
  toast(`Something failed: ${reason?.message ?? reason}`, "alert");
});
main().catch((error) => toast(`The page could not start: ${error.message}`, "alert"));
