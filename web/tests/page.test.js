import assert from "node:assert/strict";
import { test } from "node:test";

import { Feed } from "../js/feed.js";
import { groupOf } from "../js/groups.js";
import { KeptFrames } from "../js/kept.js";
import { known } from "../js/loras.js";
import { batchDelay, frameTimes, glassToGlass, Rate, serverTimes, STAGES, videoTimes, Window } from "../js/meter.js";
import { shortName } from "../js/models.js";
import { Pacer, usefulFps } from "../js/pacer.js";
import { RtcMeter } from "../js/rtc-meter.js";
import { containBox, coverCrop, matchSize, presets, uploadPlan, upscaled } from "../js/sizes.js";

const RULES = { min: 128, max: 1024, multiple: 32 };

test("percentiles are over the last values alone", () => {
  const window = new Window(10);
  assert.ok(Number.isNaN(window.percentile(0.5)));
  for (let value = 1; value <= 110; value += 1) window.add(value);
  assert.equal(window.count, 10);
  assert.deepEqual([0, 0.5, 0.9, 1].map((share) => window.percentile(share)), [101, 105, 109, 110]);
  window.clear();
  assert.equal(window.count, 0);
});

test("a rate counts the last two seconds", () => {
  const rate = new Rate();
  for (let ms = 0; ms < 4000; ms += 50) rate.tick(ms);
  assert.equal(rate.perSecond(3950), 20);
  assert.equal(rate.perSecond(9000), 0);
});

test("a source is held to its frame rate, but for jitter", () => {
  const admitted = (times, fps) => {
    const pacer = new Pacer();
    return times.filter((ms) => pacer.admit(ms, fps)).length;
  };
  const jittered = Array.from({ length: 300 }, (_, index) => index * (1000 / 30) + (index % 3) * 5);
  assert.ok(admitted(jittered, 30) >= 299);
  assert.equal(Math.abs(admitted(jittered, 15) - 150) <= 2, true);
  assert.ok(admitted(jittered, 60) === 300);
});

test("twice what the engine computes is worth sending, and always something", () => {
  assert.equal(usefulFps([100, 2500, 120]), 20);
  assert.equal(usefulFps([5000]), 2);
  assert.equal(usefulFps([]), Infinity);
});

test("the stages of a frame sum to its glass-to-glass time", () => {
  const output = { capturedUs: 1_000_000, queueUs: 2000, engineUs: 20_000, encodeUs: 1000, sentMs: 1010, receivedMs: 1040 };
  const times = frameTimes(output, 1043);
  assert.deepEqual(times, { capture: 10, network: 7, queue: 2, engine: 20, encode: 1, buffer: 0, decode: 0, paint: 3 });
  assert.equal(STAGES.reduce((sum, name) => sum + times[name], 0), 43);
});

test("a frame that the server made is timed without its clock", () => {
  const output = { capturedUs: 9e15, queueUs: 2000, engineUs: 20_000, encodeUs: 1000, sentMs: null, receivedMs: 1040 };
  const times = serverTimes(output, 1043);
  assert.deepEqual(times, { capture: 0, network: 0, queue: 2, engine: 20, encode: 1, buffer: 0, decode: 0, paint: 3 });
});

test("a frame over WebRTC is timed by the server, the browser's counters and the round trip", () => {
  const output = { queueUs: 2000, engineUs: 20_000, encodeUs: 1000, receivedMs: 1040 };
  const times = videoTimes(output, { roundTripMs: 4, encodeMs: 3, bufferMs: 6, decodeMs: NaN }, 1050);
  assert.deepEqual(times, { capture: 3, network: 4, queue: 2, engine: 20, encode: 1, buffer: 6, decode: 0, paint: 4 });
  assert.equal(glassToGlass(1_000_000, times, 1050), 50);
  for (const capturedUs of [null, 1_060_000, 5]) assert.equal(glassToGlass(capturedUs, times, 20_000), 40);
});

test("a browser's counters tell of the frames since the last reading", () => {
  const meter = new RtcMeter();
  const reading = (frames, seconds) => [
    { type: "codec" },
    { type: "inbound-rtp", kind: "audio", id: "a", framesDecoded: 9 },
    { type: "outbound-rtp", kind: "video", id: "o", framesEncoded: frames, totalEncodeTime: frames * 0.002, framesSent: frames, timestamp: seconds * 1000 },
    { type: "inbound-rtp", kind: "video", id: "i", framesDecoded: frames, totalDecodeTime: frames * 0.001, jitterBufferDelay: frames * 0.005, jitterBufferEmittedCount: frames, framesDropped: 2 },
  ];
  assert.ok(Number.isNaN(meter.read(reading(10, 1)).decodeMs));
  const { encodeMs, bufferMs, decodeMs, sentFps, dropped } = meter.read(reading(40, 2));
  assert.deepEqual([encodeMs, bufferMs, decodeMs, sentFps, dropped].map((value) => Math.round(value)), [2, 5, 1, 30, 2]);
  assert.ok(Number.isNaN(meter.read([]).sentFps));
});

test("what an output was made from is found by its number, or by when it was taken", () => {
  globalThis.OffscreenCanvas = class {
    constructor(width, height) {
      Object.assign(this, { width, height });
    }
  };
  const kept = new KeptFrames();
  assert.equal(kept.taken(null), null);
  const canvases = [0, 1, 2].map((seq) => {
    const canvas = kept.canvas(4, 2);
    kept.keep({ seq, takenMs: seq * 100, canvas });
    return canvas;
  });
  assert.equal(kept.sent(1), canvases[1]);
  assert.equal(kept.sent(9), null);
  assert.deepEqual([kept.taken(120), kept.taken(-5), kept.taken(null)], [canvases[1], canvases[0], canvases[2]]);
  for (let seq = 3; seq < 8; seq += 1) kept.keep({ seq, takenMs: seq * 100, canvas: kept.canvas(4, 2) });
  assert.equal(kept.canvas(4, 2), canvases[0]);
  assert.notEqual(kept.canvas(8, 8), canvases[1]);
});

test("stream batch delays by all steps but one", () => {
  assert.equal(batchDelay({ stream_batch: true, steps: 4 }), 3);
  assert.equal(batchDelay({ stream_batch: true, steps: 1 }), 0);
  assert.equal(batchDelay({ stream_batch: false, steps: 4 }), 0);
  assert.equal(batchDelay({}), 0);
});

const CAMERA = { unused: [], origin: "frames" };
const PROMPT = { unused: [], origin: "prompt" };

test("a setting that the model does not look at has no control", () => {
  assert.equal(groupOf("guidance", CAMERA), "main");
  assert.equal(groupOf("guidance", { ...CAMERA, unused: ["guidance"] }), null);
  assert.equal(groupOf("source", CAMERA), null);
});

test("what is rarely turned is among the advanced settings, also what comes later", () => {
  const rare = ["guidance_mode", "stream_batch", "feedback", "skip_similar", "transition_ms", "something_new"];
  for (const name of rare) assert.equal(groupOf(name, CAMERA), "advanced");
});

test("how strongly a reference picture steers stands beside it", () => {
  assert.equal(groupOf("reference_scale", CAMERA), "reference");
  assert.equal(groupOf("reference_scale", { ...CAMERA, unused: ["reference_scale"] }), null);
});

test("the seed's travel is at hand in a prompt stream", () => {
  assert.equal(groupOf("seed_speed", CAMERA), "advanced");
  assert.equal(groupOf("seed_speed", PROMPT), "main");
});

test("a prompt stream begins to travel, and the camera's picture stays as still as it was", () => {
  const feed = new Feed();
  assert.deepEqual(feed.patch({ source: "frames", seed_speed: 0 }), {});
  feed.origin = "prompt";
  assert.deepEqual(feed.patch({ source: "frames", seed_speed: 0 }), { source: "prompt", seed_speed: 0.5 });
  feed.origin = "frames";
  assert.deepEqual(feed.patch({ source: "prompt", seed_speed: 2 }), { source: "frames", seed_speed: 0 });
  feed.origin = "prompt";
  assert.equal(feed.patch({ source: "frames", seed_speed: 0 }).seed_speed, 2);
});

test("a prompt stream that is taken over keeps its travel", () => {
  const feed = new Feed();
  feed.origin = "prompt";
  assert.deepEqual(feed.patch({ source: "prompt", seed_speed: 0.1 }), {});
});

test("weights of LoRAs that the model does not have are left out", () => {
  assert.deepEqual(known({ grain: 0.5, gone: 1 }, { grain: 1, other: 1 }), { grain: 0.5 });
});

test("a model is called by the last part of its name, unless two would be called the same", () => {
  const models = ["tiny", "stabilityai/sd-turbo", "/models/sd-turbo", "acme/sana"];
  assert.deepEqual(models.map((name) => shortName(name, models)), ["tiny", models[1], models[2], "sana"]);
});

test("presets keep to the server's limits", () => {
  assert.deepEqual(presets({ min: 192, max: 512, multiple: 64 }), [192, 256, 320, 384, 512]);
});

test("a matched size has the source's aspect at about the same cost, in allowed steps", () => {
  assert.deepEqual(matchSize(256, 1, RULES), { width: 256, height: 256 });
  for (const base of [256, 384, 512]) {
    for (const aspect of [16 / 9, 4 / 3, 9 / 16, 3 / 4]) {
      const { width, height } = matchSize(base, aspect, RULES);
      assert.equal(width % 32 || height % 32, 0);
      assert.ok(Math.abs(width / height / aspect - 1) < 0.1, `${width}x${height} for ${aspect}`);
      assert.ok(Math.abs((width * height) / (base * base) - 1) < 0.25, `${width}x${height} for ${base}`);
    }
  }
});

test("what is upscaled is of sides that a smaller picture can be enlarged to", () => {
  for (const [upscale, base] of [[2, 1024], [2, 320], [4, 512], [4, 128]]) {
    const { width, height } = matchSize(base, 16 / 9, upscaled(RULES, upscale));
    assert.equal(width % (32 * upscale) || height % (32 * upscale), 0);
    assert.ok(Math.min(width, height) >= 128 * upscale && Math.max(width, height) <= 1024, `${width}x${height}`);
  }
});

test("an extreme aspect still gives an allowed size", () => {
  const { width, height } = matchSize(1024, 10, RULES);
  assert.ok(width <= 1024 && height >= 128);
});

test("cover cuts the middle out, contain shows the whole", () => {
  assert.deepEqual(coverCrop(1280, 720, 256, 256), { x: 280, y: 0, width: 720, height: 720 });
  assert.deepEqual(containBox(1280, 720, 256, 256), { x: 0, y: 56, width: 256, height: 144 });
});

test("an upload has no more pixels than the output needs, and is never enlarged", () => {
  const plan = (width, height, fit) => uploadPlan(width, height, { width: 256, height: 256, fit });
  assert.deepEqual(plan(1280, 720, "cover"), { crop: { x: 280, y: 0, width: 720, height: 720 }, width: 256, height: 256 });
  assert.deepEqual(plan(1280, 720, "contain"), { crop: { x: 0, y: 0, width: 1280, height: 720 }, width: 256, height: 144 });
  assert.equal(plan(160, 120, "cover").width, 120);
});
