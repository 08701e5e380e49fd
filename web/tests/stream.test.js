import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { connect, KIND, MAX_REFERENCE_BYTES, packFrame, parseFrame, STATES } from "../js/streamgen.js";
import { FakeClock, FakeSocket, settled, sockets, WELCOME } from "./fakes.js";

const NO_FIGURES = { replaced: 0, received: 0, reconnections: 0, fps: 0, latencyMs: null, roundTripMs: null };
const JPEG = new Uint8Array([0xff, 0xd8, 0xff, 0xd9]);
let clock;
let heard;

beforeEach(() => {
  clock = new FakeClock();
  heard = { states: [], details: [], outputs: [], errors: [], updated: [], ready: 0 };
});

function start(options = {}) {
  const stream = connect("ws://test/ws", {
    ...clock,
    WebSocket: FakeSocket,
    random: () => 1,
    onState: (state, detail) => {
      heard.states.push(state);
      heard.details.push(detail);
    },
    onOutput: (output) => void heard.outputs.push(output),
    onError: (error) => heard.errors.push(error.code),
    onUpdated: (updated) => heard.updated.push(updated.rev),
    onReady: () => (heard.ready += 1),
    ...options,
  });
  return stream;
}

const socket = () => sockets.at(-1);

function open(options, welcome = {}) {
  const stream = start(options);
  socket().accept();
  socket().message({ ...WELCOME, ...welcome });
  return stream;
}

const frame = (byte = 0) => ({ data: new Uint8Array([...JPEG, byte]), width: 64, height: 32 });
const sentSeqs = () => socket().frames.map((data) => parseFrame(data).header.seq);
const sentBytes = () => socket().frames.map((data) => parseFrame(data).picture.at(-1));
const output = (seq, more = {}) =>
  packFrame({ kind: KIND.output, codec: 1, width: 256, height: 256, seq, sourceSeq: seq, ...more }, JPEG).buffer;

test("the first message is a hello in the right subprotocol", () => {
  const stream = start({ session: "cam", format: { width: 512 }, settings: { seed: 3 }, client: "test" });
  assert.equal(socket().protocol, "streamgen.v1");
  assert.equal(stream.state, "connecting");
  socket().accept();
  const hello = { type: "hello", role: "publish", session: "cam", codec: "jpeg", client: "test" };
  assert.deepEqual(socket().sent, [{ ...hello, format: { width: 512 }, settings: { seed: 3 } }]);
});

test("a viewer's hello names the session and nothing of a publisher's", () => {
  start({ role: "view", session: "cam" });
  socket().accept();
  assert.deepEqual(Object.keys(socket().sent[0]).sort(), ["client", "codec", "role", "session", "type"]);
});

test("the stream is open once it is welcome", () => {
  const stream = open();
  assert.deepEqual(heard.states, ["open"]);
  assert.equal(stream.session, "cam");
  assert.equal(stream.ready, true);
  assert.equal(heard.ready, 1);
});

test("two frames are in flight and the newest of the others waits", () => {
  const stream = open();
  assert.deepEqual([1, 2, 3, 4, 5].map((byte) => stream.send(frame(byte))), [0, 1, null, null, null]);
  assert.deepEqual(sentBytes(), [1, 2]);
  assert.deepEqual(stream.statistics, { ...NO_FIGURES, sent: 2, replaced: 2 });
  socket().message({ type: "ack", seq: 0 });
  assert.deepEqual(sentBytes(), [1, 2, 5]);
  assert.deepEqual(sentSeqs(), [0, 1, 2]);
});

test("an acknowledgement stands for every earlier frame", () => {
  const stream = open();
  stream.send(frame());
  stream.send(frame());
  assert.equal(stream.ready, false);
  socket().message({ type: "ack", seq: 1 });
  stream.send(frame());
  stream.send(frame());
  assert.deepEqual(sentSeqs(), [0, 1, 2, 3]);
});

test("onReady tells that a credit came back, unless the waiting frame took it", () => {
  const stream = open();
  for (const byte of [1, 2, 3]) stream.send(frame(byte));
  heard.ready = 0;
  socket().message({ type: "ack", seq: 0 });
  assert.equal(heard.ready, 0);
  socket().message({ type: "ack", seq: 1 });
  assert.equal(heard.ready, 1);
});

test("a frame carries its time of capture, or else of sending", () => {
  const stream = open();
  stream.send({ ...frame(), capturedUs: 123 });
  stream.send(frame());
  const times = socket().frames.map((data) => parseFrame(data).header.capturedUs);
  assert.deepEqual(times, [123, clock.nowMs * 1000]);
});

test("an output is acknowledged after it was painted", async () => {
  let painted;
  open({ onOutput: () => new Promise((resolve) => (painted = resolve)) });
  socket().message(output(0));
  await settled();
  assert.deepEqual(socket().texts("ack"), []);
  painted();
  await settled();
  assert.deepEqual(socket().texts("ack"), [{ type: "ack", seq: 0 }]);
});

test("of outputs that come while one is painted the newest wins", async () => {
  const painted = [];
  const waiting = [];
  open({ onOutput: (made) => (painted.push(made.seq), new Promise((resolve) => waiting.push(resolve))) });
  for (const seq of [0, 1, 2]) socket().message(output(seq));
  waiting.shift()();
  await settled();
  assert.deepEqual(painted, [0, 2]);
});

test("an output that cannot be painted is reported and acknowledged all the same", async () => {
  open({ onOutput: () => Promise.reject(new Error("broken")) });
  socket().message(output(0));
  await settled();
  assert.deepEqual(heard.errors, ["paint_failed"]);
  assert.equal(socket().texts("ack").length, 1);
});

test("an output tells when its frame was sent and when it came back", async () => {
  const stream = open();
  stream.send({ ...frame(), capturedUs: 5 });
  clock.advance(40);
  socket().message(output(9, { sourceSeq: 0, capturedUs: 5, engineUs: 20_000 }));
  await settled();
  const [made] = heard.outputs;
  assert.equal(made.receivedMs - made.sentMs, 40);
  assert.equal(made.engineUs, 20_000);
});

test("an output of a prompt stream was not sent, though a frame has its number", async () => {
  const stream = open();
  stream.send({ ...frame(), capturedUs: 1_000_000.4 });
  socket().message(output(0, { capturedUs: 2_000_000 }));
  await settled();
  socket().message(output(0, { capturedUs: 1_000_000 }));
  await settled();
  assert.deepEqual(heard.outputs.map(({ sentMs }) => sentMs), [null, clock.nowMs]);
});

test("an update is answered with the settings in force", async () => {
  const stream = open();
  const answer = stream.update({ strength: 0.5 });
  const [{ ref, settings }] = socket().texts("update");
  assert.deepEqual(settings, { strength: 0.5 });
  socket().message({ type: "updated", rev: 1, settings: { strength: 0.5 }, understood: null, styles: {}, ref });
  assert.equal((await answer).rev, 1);
  assert.deepEqual(stream.settings, { strength: 0.5 });
  assert.deepEqual(heard.updated, [1]);
});

test("updates asked for while one is under way go together as one more", async () => {
  const stream = open();
  stream.update({ strength: 0.1 });
  stream.update({ strength: 0.2 });
  const last = stream.update({ strength: 0.3, seed: 4 });
  const [{ ref }] = socket().texts("update");
  assert.equal(socket().texts("update").length, 1);
  socket().message({ type: "updated", rev: 1, settings: {}, understood: null, styles: {}, ref });
  await settled();
  const second = socket().texts("update")[1];
  assert.deepEqual(second.settings, { strength: 0.3, seed: 4 });
  socket().message({ type: "updated", rev: 2, settings: {}, understood: null, styles: {}, ref: second.ref });
  assert.equal((await last).rev, 2);
});

test("a refused update is an error with code and field, and the next one goes out", async () => {
  const stream = open();
  const refused = stream.update({ steps: 9 });
  stream.update({ steps: 2 });
  const [{ ref }] = socket().texts("update");
  socket().message({ type: "error", code: "invalid_settings", message: "no", field: "steps", ref });
  await assert.rejects(refused, { code: "invalid_settings", field: "steps" });
  assert.deepEqual(heard.errors, ["invalid_settings"]);
  assert.deepEqual(socket().texts("update")[1].settings, { steps: 2 });
});

test("an update survives a lost connection", async () => {
  const stream = open();
  const first = stream.update({ strength: 0.1, seed: 1 });
  const second = stream.update({ strength: 0.2 });
  socket().lose();
  clock.advance(500);
  socket().accept();
  socket().message({ ...WELCOME, resumed: true });
  const [{ ref, settings }] = socket().texts("update");
  assert.deepEqual(settings, { strength: 0.2, seed: 1 });
  socket().message({ type: "updated", rev: 7, settings: {}, understood: null, styles: {}, ref });
  assert.deepEqual([(await first).rev, (await second).rev], [7, 7]);
});

test("a snapshot is the picture that follows its announcement", async () => {
  const stream = open();
  const answer = stream.snapshot();
  const [{ ref }] = socket().texts("snapshot");
  socket().message({ type: "snapshot_taken", seq: 5, width: 2, height: 2, ref });
  const png = new Uint8Array([0x89, 0x50]);
  socket().message(packFrame({ kind: KIND.snapshot, codec: 3, width: 2, height: 2, seq: 5 }, png).buffer);
  const { png: got, ...facts } = await answer;
  assert.deepEqual(facts, { seq: 5, width: 2, height: 2 });
  assert.deepEqual([...got], [...png]);
});

test("stats and pauses are answered by their ref", async () => {
  const stream = open();
  const [stats, paused] = [stream.stats(), stream.pause()];
  assert.equal(stream.ready, false);
  socket().message({ type: "paused", ref: socket().texts("pause")[0].ref });
  socket().message({ type: "stats", frames_in: 3, ref: socket().texts("stats")[0].ref });
  assert.equal((await stats).frames_in, 3);
  await paused;
  const resumed = stream.resume();
  socket().message({ type: "resumed", ref: socket().texts("resume")[0].ref });
  await resumed;
  assert.equal(stream.ready, true);
});

test("a lost connection is taken over again with the token, and old frames are forgotten", () => {
  const stream = open({ session: "cam" });
  for (const byte of [1, 2, 3]) stream.send(frame(byte));
  socket().lose();
  assert.deepEqual(heard.states, ["open", "reconnecting"]);
  assert.equal(stream.send(frame(4)), null);
  clock.advance(500);
  assert.deepEqual(heard.states, ["open", "reconnecting", "connecting"]);
  socket().accept();
  assert.equal(socket().sent[0].resume, "token-1");
  assert.equal(socket().sent[0].session, "cam");
  socket().message({ ...WELCOME, resume: "token-2", resumed: true });
  assert.deepEqual(sentSeqs(), []);
  stream.send(frame(5));
  assert.deepEqual(sentSeqs(), [0]);
});

test("what is asked for on a lost connection fails as retryable", async () => {
  const stream = open();
  const stats = stream.stats();
  socket().lose(1006);
  await assert.rejects(stats, { code: "connection_lost", retryable: true });
  await assert.rejects(stream.stats(), { code: "not_open" });
});

test("a token that came too late opens the session anew, with its settings", () => {
  open();
  socket().message({ type: "updated", rev: 1, settings: { prompt: "comic" }, understood: 1, styles: {} });
  socket().lose();
  clock.advance(500);
  socket().accept();
  socket().message({ type: "error", code: "bad_resume_token", message: "too late", retryable: false });
  const [, hello] = socket().texts("hello");
  assert.equal(hello.resume, undefined);
  assert.equal(hello.session, "cam");
  assert.deepEqual(hello.settings, { prompt: "comic" });
  assert.deepEqual(heard.errors, []);
});

test("waits grow by doubling up to the longest, with full jitter", () => {
  start({ maxBackoffMs: 3000 });
  const waits = [];
  for (let attempt = 0; attempt < 5; attempt += 1) {
    socket().lose();
    waits.push(heard.details.at(-1).delayMs);
    clock.advance(3000);
  }
  assert.deepEqual(waits, [500, 1000, 2000, 3000, 3000]);
});

test("jitter spreads a wait from zero up", () => {
  start({ random: () => 0.25 });
  socket().lose();
  assert.equal(heard.details.at(-1).delayMs, 125);
});

test("a welcome starts the waits anew", () => {
  open();
  socket().lose();
  clock.advance(500);
  socket().lose();
  clock.advance(1000);
  socket().accept();
  socket().message(WELCOME);
  socket().lose();
  assert.equal(heard.details.at(-1).delayMs, 500);
});

test("it gives up after as many retries as allowed", () => {
  const stream = start({ retries: 1 });
  socket().lose();
  clock.advance(500);
  socket().lose(1006, "gone");
  assert.equal(stream.state, "closed");
  const { error, ...detail } = heard.details.at(-1);
  assert.deepEqual(detail, { code: 1006, reason: "gone" });
  assert.equal(error.code, "connection_lost");
});

for (const code of [1000, 4400, 4401, 4403, 4408, 4409, 4411, 4412]) {
  test(`it does not come back after close code ${code}`, () => {
    const stream = open();
    socket().lose(code);
    assert.equal(stream.state, "closed");
    assert.deepEqual(clock.timers.filter(({ atMs }) => atMs < clock.nowMs + 5000), []);
  });
}

for (const code of [1001, 1006, 1013, 4404, 4410, 4503]) {
  test(`it comes back after close code ${code}`, () => {
    const stream = open();
    socket().lose(code);
    assert.equal(stream.state, "reconnecting");
  });
}

test("an overlay may come back after any code", () => {
  const stream = open({ role: "view", comesBack: () => true });
  socket().message({ type: "bye", reason: "session_ended" });
  socket().lose(1000);
  assert.equal(stream.state, "reconnecting");
});

test("a new format is asked for on the same connection and is in force once it is answered", async () => {
  const stream = open({ onReformatted: ({ format }) => (heard.format = format) });
  const answer = stream.reformat({ width: 512 });
  const [{ ref, format: asked }] = socket().texts("reformat");
  assert.deepEqual(asked, { width: 512 });
  assert.equal(stream.format.width, 256);
  const format = { width: 512, height: 256, fit: "cover" };
  socket().message({ type: "reformatted", format, ref });
  assert.deepEqual((await answer).format, format);
  assert.deepEqual([stream.format, stream.welcome.format, heard.format], [format, format, format]);
  assert.equal(sockets.at(-1).closedWith, null);
});

test("a newer size is asked for at once, and answers for one that was under way", async () => {
  const stream = open();
  const answers = [stream.reformat({ width: 320 }), stream.reformat({ width: 384 }), stream.reformat({ height: 512 })];
  const asked = socket().texts("reformat");
  assert.deepEqual(asked.map(({ format }) => format), [{ width: 320 }, { width: 384 }, { width: 384, height: 512 }]);
  for (const { ref } of asked.slice(0, 2)) {
    socket().message({ type: "error", code: "superseded", message: "a newer one", field: "format", ref });
  }
  await settled();
  const format = { width: 384, height: 512, fit: "cover" };
  socket().message({ type: "reformatted", format, ref: asked[2].ref });
  for (const answer of answers) assert.deepEqual((await answer).format, format);
  assert.deepEqual(heard.errors, []);
});

test("a refused format leaves the one in force", async () => {
  const stream = open();
  const refused = stream.reformat({ width: 100 });
  const [{ ref }] = socket().texts("reformat");
  socket().message({ type: "error", code: "invalid_settings", message: "no", field: "width", ref });
  await assert.rejects(refused, { code: "invalid_settings", field: "width" });
  assert.equal(stream.format.width, 256);
  stream.reformat({ height: 512 });
  assert.deepEqual(socket().texts("reformat")[1].format, { height: 512 });
});

test("a format that was not in force yet survives a lost connection", async () => {
  const stream = open();
  const answer = stream.reformat({ width: 512 });
  socket().lose();
  clock.advance(500);
  socket().accept();
  socket().message({ ...WELCOME, resumed: true });
  const [{ ref, format }] = socket().texts("reformat");
  assert.deepEqual(format, { width: 512 });
  socket().message({ type: "reformatted", format: { ...WELCOME.format, width: 512 }, ref });
  assert.equal((await answer).format.width, 512);
});

test("a format asked for without a connection goes out after the welcome", async () => {
  const stream = open();
  socket().lose();
  const answer = stream.reformat({ width: 512 });
  clock.advance(500);
  socket().accept();
  assert.equal(socket().sent[0].format.width, 256);
  socket().message({ ...WELCOME, resumed: true });
  const [{ ref, format }] = socket().texts("reformat");
  socket().message({ type: "reformatted", format, ref });
  assert.equal((await answer).format.width, 512);
});

test("a format asked for at the welcome is sent once", () => {
  const stream = start({ onWelcome: () => stream.reformat({ width: 512 }) });
  socket().accept();
  socket().message(WELCOME);
  assert.equal(socket().texts("reformat").length, 1);
});

test("a viewer hears of a new format too", () => {
  const stream = open({ role: "view", onReformatted: ({ format }) => (heard.format = format) }, { role: "view" });
  socket().message({ type: "reformatted", format: { width: 512, height: 512, fit: "cover" }, ref: null });
  assert.equal(heard.format.width, 512);
  assert.equal(stream.format.width, 512);
});

const SWITCHED = {
  type: "switched",
  model: "other",
  styles: ["ink"],
  unused: [],
  loras: { grain: 0.5 },
  reference: true,
  backend: "eager",
  device: "cpu",
};

test("another model is told with all that changes with it", async () => {
  const stream = open({ onSwitched: ({ backend }) => (heard.backend = backend) });
  const answer = stream.switch("other");
  const [{ ref, ...request }] = socket().texts("switch");
  assert.deepEqual(request, { type: "switch", model: "other" });
  socket().message({ ...SWITCHED, ref });
  assert.equal((await answer).model, "other");
  const { model, styles, unused, loras, reference, session } = stream.welcome;
  assert.deepEqual([model, styles, unused, loras, reference], ["other", ["ink"], [], { grain: 0.5 }, true]);
  assert.equal(session, "cam");
  assert.equal(heard.backend, "eager");
});

test("LoRAs to load go with the model", () => {
  const stream = open();
  stream.switch("other", ["grain"]);
  assert.deepEqual(socket().texts("switch")[0].loras, ["grain"]);
});

test("a model that somebody else switched to is told as well", () => {
  const stream = open({ onSwitched: ({ model }) => (heard.model = model) });
  socket().message({ ...SWITCHED, ref: null });
  assert.deepEqual([heard.model, stream.welcome.model], ["other", "other"]);
});

test("on a full server it waits in line when it said so, and tells its place", () => {
  const places = [];
  const stream = start({ queue: true, onQueued: ({ position }) => places.push(position) });
  socket().accept();
  assert.equal(socket().sent[0].queue, true);
  socket().message({ type: "queued", position: 2, ref: null });
  socket().message({ type: "queued", position: 1, ref: null });
  assert.deepEqual([places, stream.state], [[2, 1], "connecting"]);
});

test("styles that came while the model served are told", () => {
  const stream = open({ onRestyled: ({ styles }) => (heard.styles = styles) });
  socket().message({ type: "restyled", styles: ["ink", "my aunt"] });
  assert.deepEqual([heard.styles, stream.welcome.styles], [["ink", "my aunt"], ["ink", "my aunt"]]);
});

test("a model that is not there is an error", async () => {
  const stream = open();
  const refused = stream.switch("none");
  const [{ ref }] = socket().texts("switch");
  socket().message({ type: "error", code: "unknown_model", message: "no", field: "model", ref });
  await assert.rejects(refused, { code: "unknown_model" });
  assert.equal(stream.welcome.model, "tiny");
});

const images = () => socket().texts("reference").map(({ image }) => image);
const confirm = (at = -1) => socket().message({ type: "referenced", ref: socket().texts("reference").at(at).ref });
const refuse = (code, at = -1) =>
  socket().message({ type: "error", code, message: "no", field: "image", ref: socket().texts("reference").at(at).ref });
const picture = (byte) => new Uint8Array([0xff, 0xd8, byte]);
const [PICTURE_1, PICTURE_2] = ["/9gB", "/9gC"];

function comeBack(welcome) {
  socket().lose();
  clock.advance(500);
  socket().accept();
  socket().message({ ...WELCOME, reference: true, ...welcome });
}

function comeBackTooLate(welcome) {
  socket().lose();
  clock.advance(500);
  socket().accept();
  socket().message({ type: "error", code: "bad_resume_token", message: "too late", retryable: false });
  socket().message({ ...WELCOME, reference: true, ...welcome });
}

test("a reference picture goes out in base64, and null takes it away", async () => {
  const stream = open();
  const answer = stream.reference(new Uint8Array([0xff, 0xd8, 0xff, 0xd9]).buffer);
  assert.deepEqual(images(), ["/9j/2Q=="]);
  confirm();
  await answer;
  const removed = stream.reference(null);
  confirm();
  await removed;
  assert.deepEqual(images(), ["/9j/2Q==", null]);
});

test("the largest reference picture fits into a text message, and a larger one is not sent", async () => {
  const stream = open();
  stream.reference(new Uint8Array(MAX_REFERENCE_BYTES));
  assert.ok(JSON.stringify(socket().texts("reference")[0]).length < 65_536);
  await assert.rejects(stream.reference(new Uint8Array(MAX_REFERENCE_BYTES + 1)), { code: "bad_image", field: "image" });
  assert.equal(images().length, 1);
});

test("a newer reference picture is asked for at once, and answers for one that was under way", async () => {
  const stream = open();
  const answers = [stream.reference(picture(1)), stream.reference(picture(2))];
  assert.deepEqual(images(), [PICTURE_1, PICTURE_2]);
  refuse("superseded", 0);
  await settled();
  confirm();
  await Promise.all(answers);
  assert.deepEqual(heard.errors, []);
});

test("a refused reference picture is an error with its code", async () => {
  const stream = open();
  const refused = stream.reference(picture(1));
  refuse("no_reference");
  await assert.rejects(refused, { code: "no_reference", field: "image" });
  assert.deepEqual(heard.errors, ["no_reference"]);
});

test("a reference picture that was not in force yet survives a lost connection", async () => {
  const stream = open();
  const answer = stream.reference(picture(1));
  comeBack({ resumed: true });
  assert.deepEqual(images(), [PICTURE_1]);
  confirm();
  await answer;
});

test("a session that was taken over has its reference picture still", async () => {
  const stream = open();
  stream.reference(picture(1));
  confirm();
  await settled();
  comeBack({ resumed: true });
  assert.deepEqual(images(), []);
});

test("a session that was opened anew gets the reference picture that was in force", async () => {
  const stream = open();
  stream.reference(picture(1));
  confirm();
  stream.reference(picture(2));
  refuse("bad_image");
  await settled();
  comeBackTooLate();
  assert.deepEqual(images(), [PICTURE_1]);
  confirm();
  await settled();
  stream.reference(null);
  confirm();
  await settled();
  comeBackTooLate();
  assert.deepEqual(images(), []);
});

test("a controller changes the session and gives it nothing of its own when it comes back", async () => {
  const stream = open({ role: "control", session: "cam" }, { role: "control", resume: null });
  assert.deepEqual(Object.keys(socket().sent[0]).sort(), ["client", "codec", "role", "session", "type"]);
  stream.update({ prompt: "comic" });
  assert.deepEqual(socket().texts("update").map(({ settings }) => settings), [{ prompt: "comic" }]);
  socket().message({ type: "updated", rev: 1, settings: { prompt: "comic" }, ref: socket().texts("update")[0].ref });
  stream.reference(picture(1));
  confirm();
  await settled();
  comeBack({ role: "control", resume: null, settings: { prompt: "neon" } });
  assert.deepEqual([images(), socket().texts("update"), stream.settings], [[], [], { prompt: "neon" }]);
});

test("a reference picture waits for a model that takes one, over lost connections too", async () => {
  const stream = open();
  stream.reference(picture(1));
  confirm();
  await settled();
  comeBackTooLate({ reference: false });
  comeBack({ resumed: true, reference: false });
  assert.deepEqual(images(), []);
  socket().message({ ...SWITCHED, ref: null });
  assert.deepEqual(images(), [PICTURE_1]);
  confirm();
  await settled();
  socket().message({ ...SWITCHED, ref: null });
  assert.deepEqual(images(), [PICTURE_1]);
  assert.deepEqual(heard.errors, []);
});

test("a reference picture chosen at the welcome takes the place of the one before", async () => {
  let next = picture(1);
  let stream = null;
  stream = open({ onWelcome: () => stream?.reference(next) });
  stream.reference(next);
  confirm();
  await settled();
  next = picture(2);
  comeBackTooLate();
  assert.deepEqual(images(), [PICTURE_2]);
});

test("a silent connection is asked for a sign of life, then given up", () => {
  const stream = open();
  clock.advance(7500);
  assert.equal(socket().texts("ping").length, 3);
  socket().message({ type: "pong", id: "3" });
  clock.advance(9999);
  assert.equal(stream.state, "open");
  clock.advance(1);
  assert.equal(stream.state, "reconnecting");
});

test("a page that was asleep hears its messages before it gives the connection up", () => {
  const stream = open();
  clock.nowMs += 60_000;
  for (const timer of clock.timers) timer.atMs = clock.nowMs;
  clock.advance(0);
  assert.equal(stream.state, "open");
});

test("the round trip is measured, and the server's own pings are answered", () => {
  const stream = open();
  assert.equal(stream.roundTripMs, null);
  clock.advance(2500);
  const [{ id }] = socket().texts("ping");
  clock.advance(40);
  socket().message({ type: "pong", id });
  assert.equal(stream.roundTripMs, 40);
  socket().message({ type: "ping", id: "7" });
  assert.deepEqual(socket().texts("pong"), [{ type: "pong", id: "7" }]);
});

test("a snapshot may come in several messages", async () => {
  const stream = open();
  const answer = stream.snapshot();
  const png = new Uint8Array(100).fill(7);
  const whole = packFrame({ kind: KIND.snapshot, codec: 3, width: 2, height: 2, seq: 5 }, png);
  const [{ ref }] = socket().texts("snapshot");
  socket().message({ type: "snapshot_taken", seq: 5, width: 2, height: 2, bytes: whole.length, ref });
  for (const [from, to] of [[0, 20], [20, 90], [90, 148]]) socket().message(whole.slice(from, to).buffer);
  assert.deepEqual([...(await answer).png], [...png]);
});

test("the server's token rides as a subprotocol", () => {
  start({ token: "ünguessable?" });
  assert.deepEqual(socket().protocol, ["streamgen.v1", "token.w7xuZ3Vlc3NhYmxlPw"]);
});

test("a client that can unpack alpha says so", () => {
  start({ alpha: true });
  socket().accept();
  assert.equal(socket().sent[0].alpha, true);
});

test("close says bye once and is final", async () => {
  const stream = open();
  const update = stream.update({ seed: 1 });
  const format = stream.reformat({ width: 512 });
  const reference = stream.reference(null);
  stream.close();
  stream.close();
  assert.deepEqual(socket().texts("bye"), [{ type: "bye" }]);
  assert.equal(socket().closedWith, 1000);
  await assert.rejects(update, { code: "closed" });
  await assert.rejects(format, { code: "closed" });
  await assert.rejects(reference, { code: "closed" });
  await assert.rejects(stream.reformat({ width: 128 }), { code: "closed" });
  await assert.rejects(stream.update({ seed: 2 }), { code: "closed" });
  clock.advance(60_000);
  assert.deepEqual(heard.states, ["open", "closed"]);
});

test("a message that cannot be read is reported and the stream goes on", () => {
  const stream = open();
  socket().message("{");
  socket().message(new Uint8Array([1, 2, 3]).buffer);
  assert.deepEqual(heard.errors, ["invalid_message", "truncated_header"]);
  assert.equal(stream.state, "open");
});

test("closed is final and every state is reachable", () => {
  assert.deepEqual(STATES.closed, {});
  const reached = new Set(Object.values(STATES).flatMap((events) => Object.values(events)));
  assert.deepEqual([...reached].sort(), ["closed", "connecting", "open", "reconnecting"]);
});

test("errors that nobody listens for are warned of", (context) => {
  const warn = context.mock.method(console, "warn", () => {});
  open({ onError: undefined });
  socket().message({ type: "error", code: "unknown_setting", message: "there is no setting color" });
  assert.deepEqual(warn.mock.calls.map((call) => call.arguments), [["streamgen: unknown_setting: there is no setting color"]]);
});
