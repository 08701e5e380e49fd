import assert from "node:assert/strict";
import { test } from "node:test";

import { overlayOptions } from "../js/overlay-options.js";
import { Playout } from "../js/playout.js";
import { unpackAlpha } from "../js/unpack.js";
import { FakeClock, settled } from "./fakes.js";

test("an overlay's options are what its address says, and the first choice where that is nothing valid", () => {
  assert.deepEqual(overlayOptions("#session=cam&token=s%20t&fit=fill&mirror=1&delay=250&fps=15&transport=websocket&lost=card"), {
    session: "cam",
    token: "s t",
    fit: "fill",
    mirror: true,
    delayMs: 250,
    fps: 15,
    transport: "websocket",
    lost: "card",
  });
  const defaults = {
    session: "",
    token: undefined,
    fit: "contain",
    mirror: false,
    delayMs: 0,
    fps: Infinity,
    transport: "auto",
    lost: "freeze",
  };
  assert.deepEqual(overlayOptions(""), defaults);
  assert.deepEqual(overlayOptions("#fit=wide&mirror=yes&delay=-5&fps=fast&transport=pigeon&lost=keep"), defaults);
  assert.equal(overlayOptions("#delay=1e9").delayMs, 10_000);
});

/** A playout whose pictures are numbers, what it showed when, and what it let go. */
function playout(pace, { show = () => {}, maxBytes = 1000 } = {}) {
  const clock = new FakeClock();
  const startMs = clock.nowMs;
  const shown = [];
  const dropped = [];
  const made = new Playout(
    { delayMs: 0, fps: Infinity, ...pace },
    async ({ seq }) => {
      shown.push([seq, Math.round(clock.nowMs - startMs)]);
      await show();
    },
    clock,
    maxBytes,
  );
  const put = (seq, bytes = 1) => made.put({ seq, bytes, drop: () => dropped.push(seq) });
  return { clock, made, put, shown, dropped };
}

/** Frames every `everyMs`, and time to show them. */
async function play({ clock, put }, count, everyMs) {
  for (let seq = 0; seq < count; seq++) {
    put(seq);
    await settled();
    for (let ms = 0; ms < everyMs; ms++) {
      clock.advance(1);
      await settled();
    }
  }
}

test("without a delay everything is shown as it comes", async () => {
  const one = playout({});
  await play(one, 3, 20);
  assert.deepEqual(one.shown, [[0, 0], [1, 20], [2, 40]]);
});

test("with a delay everything is shown that much later, at the rate it came", async () => {
  const one = playout({ delayMs: 100 });
  await play(one, 10, 30);
  assert.deepEqual(one.shown.slice(0, 3), [[0, 100], [1, 130], [2, 160]]);
  assert.deepEqual(one.dropped, []);
});

test("a frame rate shows the newest of what came since, and does not fall behind", async () => {
  const one = playout({ fps: 20 });
  await play(one, 25, 20);
  assert.deepEqual(one.shown.slice(0, 4), [[0, 0], [2, 50], [4, 100], [7, 150]]);
  assert.equal(one.shown.length, 11);
  assert.equal(one.dropped.length, 14);
});

test("while one is being shown the newest waits, and the others are let go", async () => {
  let finish = () => {};
  const one = playout({}, { show: () => new Promise((resolve) => (finish = resolve)) });
  for (let seq = 0; seq < 5; seq++) one.put(seq);
  await settled();
  assert.deepEqual(one.shown, [[0, 0]]);
  finish();
  await settled();
  assert.deepEqual(one.shown, [[0, 0], [4, 0]]);
  assert.deepEqual(one.dropped, [1, 2, 3]);
});

test("when there is no room for the whole delay it becomes shorter and the picture goes on", async () => {
  const one = playout({ delayMs: 10_000 }, { maxBytes: 5 });
  await play(one, 20, 10);
  assert.deepEqual(one.shown.slice(0, 3), [[0, 50], [1, 60], [2, 70]]);
  assert.equal(one.shown.length, 15);
});

test("what was cleared is never shown", async () => {
  const one = playout({ delayMs: 100 });
  for (let seq = 0; seq < 3; seq++) one.put(seq);
  one.made.clear();
  one.clock.advance(200);
  one.put(3);
  one.clock.advance(100);
  await settled();
  assert.deepEqual(one.shown, [[3, 300]]);
  assert.deepEqual(one.dropped, [0, 1, 2]);
});

test("alpha is unpacked from what is light, less a codec's ripples", () => {
  const colours = new Uint8ClampedArray([1, 2, 3, 255, 4, 5, 6, 255, 7, 8, 9, 255, 7, 8, 9, 255]);
  const alphas = new Uint8ClampedArray([9, 9, 9, 255, 128, 128, 128, 255, 240, 240, 240, 255, 255, 255, 255, 255]);
  unpackAlpha(colours, alphas, 4);
  assert.deepEqual([...colours], [1, 2, 3, 0, 4, 5, 6, 128, 7, 8, 9, 255, 7, 8, 9, 255]);
});

test("the last column's chroma, which decoders mix with the alpha beside it, is that of the column before", () => {
  const row = [200, 100, 0, 255, 150, 150, 50, 255]; // and as light as it is
  const colours = new Uint8ClampedArray([...row, ...row]);
  unpackAlpha(colours, new Uint8ClampedArray(16).fill(255), 2);
  assert.deepEqual([...colours.slice(0, 8)], [200, 100, 0, 255, 220, 120, 20, 255]);
  assert.deepEqual(colours.slice(8), colours.slice(0, 8));
});
