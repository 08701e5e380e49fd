import assert from "node:assert/strict";
import { test } from "node:test";

import { AdminApi, AdminError } from "../js/admin-api.js";
import { COLUMNS, duration, fullness, reasons, reduced } from "../js/admin-rows.js";

const SESSION = {
  name: "cam",
  age_s: 3725.4,
  publisher: true,
  viewers: 1,
  device: "cuda:0",
  format: { width: 1024, height: 512, upscale: 2 },
  settings: { steps: 2, matte: "person", loras: { soft: 0.5 } },
  given: null,
  received_fps: 29.6,
  computed_fps: 14.2,
  drops: { replaced: 3, rate: 4 },
  stages: { engine_ms: { p50: 21.34, p90: 30 } },
};

test("a session is described column by column", () => {
  const said = Object.fromEntries(Object.entries(COLUMNS).map(([column, text]) => [column, text(SESSION)]));
  assert.deepEqual(said, {
    name: "cam",
    age: "1 h 2 min",
    who: "publisher, 1 viewer",
    size: "1024×512 (upscaled 2×)",
    rate: "30 / 14 fps",
    engine: "21.3 ms",
    drops: "7",
    device: "cuda:0",
    settings: 'steps 2, matte person, loras {"soft":0.5}',
  });
  assert.equal(reduced(SESSION), "");
  assert.equal(reasons(SESSION), "replaced: 3\nrate: 4");
});

test("what is not known yet is said to be so", () => {
  const young = { ...SESSION, publisher: false, viewers: 0, device: null, settings: {}, stages: {}, drops: {} };
  assert.equal(COLUMNS.who(young), "no publisher, 0 viewers");
  assert.deepEqual([COLUMNS.engine(young), COLUMNS.device(young), COLUMNS.drops(young)], ["–", "–", "0"]);
  assert.equal(COLUMNS.settings(young), "as they are");
});

test("a session that is given less shows the size it has", () => {
  const given = { ...SESSION, given: { width: 512, height: 256, steps: 1, max_fps: 5 } };
  assert.match(COLUMNS.size(given), /^512×256/);
  assert.equal(reduced(given), "given less: 512×256, 1 step, at most 5 fps");
});

test("durations and fullness are short", () => {
  assert.deepEqual([duration(0), duration(61.9), duration(7199)], ["0 s", "1 min 1 s", "1 h 59 min"]);
  assert.equal(fullness({ sessions: [SESSION], limit: 16, queue: 2 }), "1 of 16 sessions, 2 waiting");
  assert.equal(fullness({ sessions: [], limit: 1, queue: 0 }), "0 of 1 session");
});

/** A server of one answer that keeps what it was asked. */
function server(status, body = {}) {
  const asked = [];
  const fetch = async (url, options) => {
    asked.push([options.method, String(url), options.headers]);
    return new Response(status === 204 ? null : JSON.stringify(body), { status });
  };
  return { asked, fetch };
}

test("the token rides in a header, and prompts are asked for by name", async () => {
  const { asked, fetch } = server(200, { sessions: [] });
  const api = new AdminApi("https://host/base/admin.html", "s3cret", fetch);
  assert.deepEqual(await api.list(true), { sessions: [] });
  await new AdminApi("https://host/", undefined, fetch).list(false);
  assert.deepEqual(asked, [
    ["GET", "https://host/base/api/v1/sessions?prompts=1", { Authorization: "Bearer s3cret" }],
    ["GET", "https://host/api/v1/sessions", undefined],
  ]);
});

test("a session that has no picture has none, and other errors are told", async () => {
  const missing = server(404, { message: "no frame has been computed yet" });
  assert.equal(await new AdminApi("https://host/", undefined, missing.fetch).snapshot("a b"), null);
  assert.equal(missing.asked[0][1], "https://host/api/v1/sessions/a%20b/snapshot");
  const refusing = new AdminApi("https://host/", undefined, server(401, { message: "no token" }).fetch);
  await assert.rejects(refusing.end("cam"), (error) => error instanceof AdminError && error.status === 401);
  const gone = new AdminApi("https://host/", undefined, () => Promise.reject(new TypeError("failed to fetch")));
  await assert.rejects(gone.list(false), { status: 0, message: "the server cannot be reached" });
});
