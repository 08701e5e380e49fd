// The figures under the picture: latency, rates, drops, and which stage takes the time.

import { byId, make } from "./dom.js";
import { Flow } from "./flow.js";
import { batchDelay, frameTimes, glassToGlass, Rate, serverTimes, STAGES, videoTimes, Window } from "./meter.js";
import { NO_FIGURES, RtcMeter } from "./rtc-meter.js";

/** @import {Origin} from "./feed.js" */
/** @import {FrameTimes} from "./meter.js" */
/** @import {RtcFigures} from "./rtc-meter.js" */
/** @import {Stream} from "./streamgen.js" */
/** @import {Output, Settings, Stats, TransportKind} from "./types.js" */

const SETTLING_MS = 2000;
const REFRESH_MS = 500;
const NOTHING = "–";
/** @type {Readonly<Record<Origin, string>>} */
const LEADS = Object.freeze({ frames: "Glass to glass", prompt: "On the server", other: "On the server" });

/** @type {Readonly<Record<typeof STAGES[number], string>>} */
const NAMES = Object.freeze({
  capture: "Capture",
  network: "Network",
  queue: "Queue",
  engine: "Engine",
  encode: "Encode",
  buffer: "Buffer",
  decode: "Decode",
  paint: "Paint",
});

export class Hud {
  #total = new Window(300);
  #stages = STAGES.map((name) => ({ name, times: new Window(300) }));
  #in = new Rate();
  /** What comes in from another program. */
  #flow = new Flow();
  #out = new Rate();
  /** @type {number | null} */ #firstMs = null;
  /** @type {Stats | null} */ #server = null;
  #clientDrops = () => 0;
  #live = false;
  /** @type {Origin} */ #origin = "frames";
  #batchDelay = 0;
  /** @type {TransportKind} */ #transport = "websocket";
  #rtcMeter = new RtcMeter();
  /** @type {RtcFigures} */ #rtc = NO_FIGURES;
  /** @type {number | null} */ #roundTripMs = null;

  /** @param {() => number} clientDrops frames this page dropped before sending them */
  constructor(clientDrops) {
    this.#clientDrops = clientDrops;
    byId("hud-legend", HTMLElement).append(...STAGES.map((name) => legendItem(name)));
    byId("hud-bar", HTMLElement).append(...STAGES.map((name) => stagePart(name)));
    setInterval(() => this.#show(), REFRESH_MS);
  }

  /** A new connection or source: measure anew. */
  restart() {
    this.#firstMs = null;
    this.#flow.clear();
    this.#total.clear();
    for (const { times } of this.#stages) times.clear();
  }

  /** Frames that the server makes itself have no glass to be timed from, and another program's another clock.
   * @param {Origin} origin */
  set origin(origin) {
    this.#origin = origin;
    byId("hud", HTMLElement).dataset.origin = origin;
    text("hud-lead", LEADS[origin]);
    this.restart();
    this.#show();
  }

  /** @param {TransportKind} kind that the outputs come over */
  set transport(kind) {
    this.#transport = kind;
    this.#rtc = NO_FIGURES;
    byId("hud", HTMLElement).dataset.transport = kind;
    this.restart();
  }

  /** Call every second: ask the server, and the browser, for what they count. @param {Stream} stream that is open */
  async poll(stream) {
    const stats = await stream.stats().catch(() => null);
    if (stats) {
      this.#server = stats;
      this.#flow.read(stats, performance.now());
    }
    const report = await stream.peerConnection?.getStats();
    this.#rtc = report ? this.#rtcMeter.read(report.values()) : NO_FIGURES;
    this.#roundTripMs = stream.roundTripMs;
  }

  /** Whether no frames have come into the session for some seconds. */
  get dry() {
    return this.#flow.dry(performance.now());
  }

  /** @param {Settings} settings in force */
  set settings(settings) {
    this.#batchDelay = batchDelay(settings);
  }

  /** Without a connection there is nothing to tell. @param {boolean} live */
  set live(live) {
    this.#live = live;
    if (live) return;
    this.restart();
    this.#server = null;
    this.#in.clear();
    this.#out.clear();
    this.#show();
  }

  sent() {
    this.#in.tick(performance.now());
  }

  /** @param {Output} output just painted */
  painted(output) {
    const now = performance.now();
    this.#out.tick(now);
    this.#firstMs ??= now;
    if (now - this.#firstMs < SETTLING_MS) return;
    const measured = this.#measure(output, performance.timeOrigin + now);
    if (!measured) return;
    this.#total.add(measured.totalMs);
    for (const stage of this.#stages) stage.times.add(measured.times[stage.name]);
  }

  /** @param {Output} output @param {number} paintedMs @returns {{times: FrameTimes, totalMs: number} | null} */
  #measure(output, paintedMs) {
    const { capturedUs, queueUs, engineUs, encodeUs, sentMs, receivedMs } = output;
    if (queueUs === null || engineUs === null || encodeUs === null) return null; // the server's word was lost
    const facts = { queueUs, engineUs, encodeUs, receivedMs };
    const own = this.#origin === "frames";
    if (output.video) {
      const times = videoTimes(facts, { ...this.#rtc, roundTripMs: this.#roundTripMs }, paintedMs);
      return { times, totalMs: own ? glassToGlass(capturedUs, times, paintedMs) : onServer(times) };
    }
    if (own !== (sentMs !== null) || capturedUs === null) return null; // made before another source was chosen
    const times = own ? frameTimes({ ...facts, capturedUs, sentMs }, paintedMs) : serverTimes(facts, paintedMs);
    return { times, totalMs: own ? paintedMs - capturedUs / 1000 : onServer(times) };
  }

  #show() {
    const now = performance.now();
    text("hud-p50", whole(this.#total.percentile(0.5)));
    text("hud-p90", whole(this.#total.percentile(0.9)));
    text("hud-fps-in", this.#live ? this.#sentFps(now) : NOTHING);
    text("hud-fps-out", this.#live ? this.#out.perSecond(now).toFixed(1) : NOTHING);
    this.#showDrops();
    this.#showStages();
    byId("hud", HTMLElement).dataset.measured = String(this.#total.count > 0);
  }

  /** @param {number} now */
  #sentFps(now) {
    const own = this.#transport === "websocket" ? this.#in.perSecond(now) : this.#rtc.sentFps;
    const fps = this.#origin === "other" ? this.#flow.fps : own;
    return Number.isNaN(fps) ? NOTHING : fps.toFixed(1);
  }

  #showDrops() {
    const reasons = { ...this.#server?.drops, "after receiving": this.#rtc.dropped };
    const client = this.#clientDrops();
    const total = Object.values(reasons).reduce((sum, count) => sum + count, client);
    const drops = byId("hud-drops", HTMLElement);
    drops.textContent = this.#live ? String(total) : NOTHING;
    const all = Object.entries({ "before sending": client, ...reasons });
    drops.title = all.map(([reason, count]) => `${reason}: ${count}`).join("\n");
  }

  #showStages() {
    const medians = this.#stages.map(({ name, times }) => ({ name, ms: times.percentile(0.5) || 0 }));
    const limiting = medians.reduce((most, stage) => (stage.ms > most.ms ? stage : most));
    const measured = limiting.ms > 0;
    for (const { name, ms } of medians) {
      const part = document.querySelector(`.stage-part[data-stage="${name}"]`);
      if (part instanceof HTMLElement) part.style.flexGrow = String(ms);
      const item = document.querySelector(`.legend [data-stage="${name}"]`);
      item?.classList.toggle("limiting", measured && name === limiting.name);
      if (item) item.textContent = measured ? `${NAMES[name]} ${ms.toFixed(ms < 9.95 ? 1 : 0)}` : NAMES[name];
    }
    this.#tellWhere(medians, limiting, measured);
  }

  /** @param {{name: typeof STAGES[number], ms: number}[]} medians @param {{name: typeof STAGES[number]}} limiting
   * @param {boolean} measured */
  #tellWhere(medians, limiting, measured) {
    const timed = medians.filter(({ ms }) => ms > 0);
    const told = timed.map(({ name, ms }) => `${NAMES[name]} ${ms.toFixed(1)} ms`).join(", ");
    byId("hud-bar", HTMLElement).ariaLabel = `Where the time goes: ${measured ? told : "measuring"}`;
    const backend = this.#server ? ` · ${this.#server.backend}` : "";
    const frames = `${this.#batchDelay} ${this.#batchDelay === 1 ? "frame" : "frames"}`;
    const batch = this.#batchDelay ? ` · stream batch adds ${frames} of delay` : "";
    const limit = measured ? `Limited by: ${NAMES[limiting.name].toLowerCase()}${backend}` : "Measuring";
    text("hud-limit", limit + batch);
  }
}

/** @param {FrameTimes} times */
function onServer({ queue, engine, encode }) {
  return queue + engine + encode;
}

/** @param {string} name */
function stagePart(name) {
  const part = make("span", { className: "stage-part" });
  part.dataset.stage = name;
  return part;
}

/** @param {typeof STAGES[number]} name */
function legendItem(name) {
  const item = make("li", {}, NAMES[name]);
  item.dataset.stage = name;
  return item;
}

/** @param {string} id @param {string} value */
function text(id, value) {
  byId(id, HTMLElement).textContent = value;
}

/** @param {number} value */
function whole(value) {
  return Number.isNaN(value) ? NOTHING : String(Math.round(value));
}
