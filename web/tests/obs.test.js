import assert from "node:assert/strict";
import { test } from "node:test";

import { Feed } from "../js/feed.js";
import { Flow } from "../js/flow.js";
import { groupOf } from "../js/groups.js";
import { sessionName, whipUrl } from "../js/obs-guide.js";
import { describeSize, matchSize, presets } from "../js/sizes.js";
import { statusOf } from "../js/status.js";

test("a session's name is the nearest one to what was typed, and never empty", () => {
  assert.equal(sessionName("  My scene, 2 ", "studio"), "My-scene-2");
  assert.equal(sessionName("cam_1-a", "studio"), "cam_1-a");
  for (const typed of ["", "  ", "…", "/"]) assert.equal(sessionName(typed, "studio"), "studio");
  assert.equal(sessionName("x".repeat(80), "studio").length, 64);
});

test("OBS sends to the address that the page came from", () => {
  assert.equal(whipUrl("studio", "http://127.0.0.1:8188/#control=studio"), "http://127.0.0.1:8188/whip/studio");
  assert.equal(whipUrl("a", "https://video.example/live/index.html?x=1"), "https://video.example/live/whip/a");
});

const read = (flow, counts) =>
  counts.forEach((count, second) => flow.read({ frames_in: count, frames_out: 0 }, second * 1000));

test("the rate of another program's frames is told over the last seconds", () => {
  const flow = new Flow();
  read(flow, [500]);
  assert.ok(Number.isNaN(flow.fps));
  read(flow, [500, 530, 560, 580, 600]);
  assert.equal(flow.fps, 20);
});

test("a program that sends nothing for three seconds has stopped, until it goes on", () => {
  const flow = new Flow();
  assert.equal(flow.dry(9000), false);
  read(flow, [0, 30, 30, 30, 30]);
  assert.deepEqual([flow.dry(3900), flow.dry(4000)], [false, true]);
  flow.read({ frames_in: 31, frames_out: 0 }, 5000);
  assert.equal(flow.dry(5100), false);
});

test("another session of the same name, and a prompt stream, count anew", () => {
  const flow = new Flow();
  read(flow, [900, 930]);
  flow.read({ frames_in: 10, frames_out: 0 }, 2000);
  assert.ok(Number.isNaN(flow.fps));
  flow.read({ frames_in: 10, frames_out: 40 }, 3000);
  assert.equal(flow.fps, 30);
});

test("the page waits for OBS quietly, and tells a server that is away", () => {
  assert.equal(statusOf("connecting", false, true), "waiting");
  assert.equal(statusOf("reconnecting", false, true), "waiting");
  assert.equal(statusOf("open", false, true), "waiting");
  assert.equal(statusOf("open", false, false), "open");
  assert.equal(statusOf("connecting", true, true), "lost");
  assert.equal(statusOf("closed", true, true), "closed");
});

test("a session that another program feeds is asked for no other source", () => {
  const feed = new Feed();
  feed.origin = "other";
  for (const source of ["frames", "prompt"]) assert.deepEqual(feed.patch({ source, seed_speed: 2 }), {});
  assert.equal(groupOf("seed_speed", { unused: [], origin: "other" }), "advanced");
  feed.origin = "frames";
  assert.deepEqual(feed.patch({ source: "frames", seed_speed: 0 }), {});
});

const RULES = { min: 128, max: 1024, multiple: 32 };
const SHAPES = { Square: 1, "16:9": 16 / 9, "9:16": 9 / 16 };

test("a size is told as the choice that makes it", () => {
  for (const base of presets(RULES).filter((side) => side > 128 && side < 1024)) {
    for (const [shape, aspect] of Object.entries(SHAPES)) {
      assert.deepEqual(describeSize(matchSize(base, aspect, RULES), SHAPES, RULES), { base, shape });
    }
  }
  assert.deepEqual(describeSize({ width: 1024, height: 128 }, SHAPES, RULES), { base: 384, shape: "" });
});
