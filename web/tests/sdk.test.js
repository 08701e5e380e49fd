// Tokens that renew, statistics, typed errors, and the helpers for cameras and canvases.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import * as sdk from "../js/streamgen.js";
import { FakeClock, FakeSocket, settled, sockets, WELCOME } from "./fakes.js";

const JPEG = new Uint8Array([0xff, 0xd8, 0xff, 0xd9]);
const { connect, KIND, packFrame } = sdk;
let clock;
let heard;
const streams = [];
const socket = () => sockets.at(-1);
const protocols = () => sockets.map(({ protocol }) => protocol[1]);

beforeEach(() => {
  clock = new FakeClock();
  heard = { states: [], errors: [] };
  sockets.length = 0;
});

afterEach(() => {
  for (const stream of streams.splice(0)) stream.close();
});

function start(options = {}) {
  const stream = connect("ws://test/ws", {
    ...clock,
    WebSocket: FakeSocket,
    random: () => 1,
    onState: (state, { error }) => heard.states.push([state, error?.code]),
    onError: (error) => heard.errors.push([error.constructor.name, error.code]),
    ...options,
  });
  streams.push(stream);
  return stream;
}

function welcome(more = {}) {
  socket().accept();
  socket().message({ ...WELCOME, ...more });
}

const output = (seq, capturedUs) =>
  packFrame({ kind: KIND.output, codec: 1, width: 256, height: 256, seq, sourceSeq: seq, capturedUs }, JPEG).buffer;

// ------------------------------------------------------------------------------------------------------------- tokens

test("a token may be a function, plain or async, and is asked for before every connection", async () => {
  let count = 0;
  start({ token: async () => `t${++count}` });
  assert.equal(sockets.length, 0);
  await settled();
  welcome();
  socket().lose();
  clock.advance(500);
  await settled();
  assert.deepEqual(protocols(), ["token.dDE", "token.dDI"]);
  start({ token: () => "plain" });
  await settled();
  assert.equal(protocols().at(-1), "token.cGxhaW4");
});

test("when the token has expired another one is asked for at once and the session is taken over", async () => {
  let count = 0;
  const stream = start({ token: () => `t${++count}` });
  await settled();
  welcome();
  socket().message({ type: "error", code: "token_expired", message: "expired", retryable: true });
  socket().lose(4411, "the token has expired");
  assert.equal(stream.state, "reconnecting");
  clock.advance(0);
  await settled();
  assert.equal(count, 2);
  socket().accept();
  assert.equal(socket().sent[0].resume, WELCOME.resume);
  socket().message({ ...WELCOME, resumed: true });
  assert.deepEqual(heard.states, [["open", undefined], ["reconnecting", "token_expired"], ["connecting", undefined], ["open", undefined]]);
  assert.deepEqual(heard.errors, [["AccessError", "token_expired"]]);
});

test("a second refusal in a row is the end", async () => {
  const stream = start({ token: () => "old" });
  await settled();
  socket().lose(4401, "no");
  clock.advance(0);
  await settled();
  socket().lose(4401, "no");
  assert.equal(stream.state, "closed");
  assert.equal(sockets.length, 2);
});

test("a fixed token that is refused is the end", () => {
  const stream = start({ token: "old" });
  socket().lose(4401, "no");
  assert.equal(stream.state, "closed");
  assert.deepEqual(heard.states, [["closed", "unauthorised"]]);
});

test("a token service that is away is asked again later", async () => {
  let away = true;
  const stream = start({ token: () => (away ? Promise.reject(new Error("away")) : "t") });
  await settled();
  assert.deepEqual(heard.states, [["reconnecting", "no_token"]]);
  away = false;
  clock.advance(500);
  await settled();
  welcome();
  assert.equal(stream.state, "open");
});

test("a token that comes after the stream was closed opens nothing", async () => {
  let give;
  const stream = start({ token: () => new Promise((resolve) => (give = resolve)) });
  stream.close();
  give("late");
  await settled();
  assert.equal(sockets.length, 0);
});

test("a stream that does not reconnect is closed by its first loss", () => {
  const stream = start({ reconnect: false });
  welcome();
  socket().lose(4410, "slow");
  assert.equal(stream.state, "closed");
  assert.deepEqual(heard.states.at(-1), ["closed", "too_slow"]);
});

// ------------------------------------------------------------------------------------------- addresses and surroundings

test("an address may be one of http", () => {
  start();
  assert.equal(socket().url, "ws://test/ws");
  const stream = connect("https://test/ws", { ...clock, WebSocket: FakeSocket, onError: () => {} });
  assert.equal(socket().url, "wss://test/ws");
  stream.close();
});

test("what is no address, and a runtime without WebSockets, are typed errors", () => {
  assert.throws(() => connect("/ws", { WebSocket: FakeSocket }), { name: "SessionError", code: "unreachable" });
  assert.throws(() => connect("ws://test/ws", { WebSocket: undefined }), { name: "SessionError", code: "no_websocket" });
});

// ---------------------------------------------------------------------------------------------------------- statistics

test("frames, outputs, latency and the round trip are counted and measured", async () => {
  const stream = start();
  assert.equal(stream.statistics.latencyMs, null);
  welcome();
  for (let frame = 0; frame < 3; frame += 1) stream.send({ data: JPEG, width: 8, height: 8 });
  const capturedUs = clock.nowMs * 1000;
  stream.send({ data: JPEG, width: 8, height: 8 });
  clock.advance(80);
  socket().message(output(0, capturedUs));
  await settled();
  socket().message(output(1, 5)); // of somebody else's frame
  await settled();
  const { fps, latencyMs, ...counts } = stream.statistics;
  assert.deepEqual(counts, { sent: 2, replaced: 1, received: 2, reconnections: 0, roundTripMs: null });
  assert.equal(fps, 1);
  assert.deepEqual(latencyMs, { p50: 80, p90: 80 });
  socket().lose();
  clock.advance(500);
  welcome({ resumed: true });
  assert.equal(stream.statistics.reconnections, 1);
});

// -------------------------------------------------------------------------------------------------------------- errors

test("errors have a class for each kind", async () => {
  const stream = start();
  welcome();
  const refused = stream.update({ steps: 9 });
  const [{ ref }] = socket().texts("update");
  socket().message({ type: "error", code: "invalid_settings", message: "steps: no", field: "steps", retryable: false, ref });
  await assert.rejects(refused, (error) => error instanceof sdk.SettingsError && error instanceof sdk.StreamgenError);
  await assert.rejects(refused, { name: "SettingsError", code: "invalid_settings", field: "steps", retryable: false });
  socket().message({ type: "error", code: "of_tomorrow", message: "?" });
  assert.deepEqual(heard.errors.at(-1), ["ProtocolError", "of_tomorrow"]);
  const lost = stream.stats();
  socket().lose();
  await assert.rejects(lost, { name: "SessionError", code: "connection_lost", retryable: true });
  stream.close();
  await assert.rejects(stream.update({}), { name: "SessionError", code: "closed" });
});

// ------------------------------------------------------------------------------------------------- cameras and canvases

/** @param {object} things of a browser, for one test */
function inBrowser(context, things) {
  for (const [name, value] of Object.entries(things)) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    context.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
  }
}

class FakeCanvas {
  constructor(width, height) {
    Object.assign(this, { width, height, drawn: [] });
  }

  getContext(kind) {
    return kind === "2d" ? { drawImage: (...what) => this.drawn.push(what) } : null;
  }

  async convertToBlob({ type, quality }) {
    return { arrayBuffer: async () => new TextEncoder().encode(`${type} ${quality}`).buffer };
  }
}

class FakeVideo {
  videoWidth = 640;
  videoHeight = 480;
  requestVideoFrameCallback(callback) {
    this.next = callback;
  }

  async frame(now = performance.now()) {
    this.next(now, {});
    await settled();
  }

  async play() {}
}

const frameSizes = () => socket().frames.map((data) => sdk.parseFrame(data).header).map(({ width, height }) => [width, height]);

test("a video's frames are cropped to the format, encoded when they can be sent, and sent", async (context) => {
  inBrowser(context, { OffscreenCanvas: FakeCanvas });
  const stream = start({ settings: { max_fps: 60 } });
  const video = new FakeVideo();
  const stop = sdk.sendVideo(stream, video, { quality: 0.5 });
  await video.frame(); // not open yet
  welcome({ settings: { max_fps: 60 }, format: { width: 256, height: 256, fit: "cover" } });
  await video.frame();
  assert.deepEqual(frameSizes(), [[256, 256]]);
  const [frame] = socket().frames.map((data) => sdk.parseFrame(data));
  assert.equal(new TextDecoder().decode(frame.picture), "image/jpeg 0.5");
  assert.ok(Math.abs(frame.header.capturedUs / 1000 - Date.now()) < 60_000);
  stop();
  await video.frame();
  assert.equal(frameSizes().length, 1);
});

test("a frame that cannot be encoded is told", async (context) => {
  class Failing extends FakeCanvas {
    convertToBlob() {
      return Promise.reject(new Error("no memory"));
    }
  }
  inBrowser(context, { OffscreenCanvas: Failing });
  const video = new FakeVideo();
  sdk.sendVideo(start(), video);
  welcome();
  await video.frame();
  assert.deepEqual(heard.errors, [["CodecError", "encode_failed"]]);
});

const camera = (getUserMedia) => ({ navigator: { mediaDevices: { getUserMedia } } });

test("a camera gives a track to send and a video to send from", async (context) => {
  const track = { stop: () => (track.stopped = true) };
  const asked = [];
  inBrowser(context, {
    ...camera(async (wanted) => (asked.push(wanted), { getVideoTracks: () => [track] })),
    document: { createElement: () => new FakeVideo() },
  });
  const opened = await sdk.openCamera({ facingMode: "user" });
  assert.equal(opened.track, track);
  assert.equal(asked[0].video.facingMode, "user");
  assert.ok(opened.video.muted && opened.video.srcObject);
  opened.close();
  assert.ok(track.stopped);
});

test("a camera that cannot be had is a typed error", async (context) => {
  const failing = (name) => camera(() => Promise.reject(new DOMException("", name)));
  for (const [name, code] of [["NotAllowedError", "camera_blocked"], ["NotFoundError", "no_camera"], ["AbortError", "camera_failed"]]) {
    inBrowser(context, failing(name));
    await assert.rejects(sdk.openCamera(), { name: "MediaError", code });
  }
  inBrowser(context, { navigator: {} });
  await assert.rejects(sdk.openCamera(), { name: "MediaError", code: "insecure_page" });
});

test("outputs are painted into a canvas of their size, raw ones too", async (context) => {
  const canvas = new FakeCanvas(1, 1);
  const closed = [];
  inBrowser(context, {
    ImageData: class {
      constructor(width, height) {
        Object.assign(this, { width, height, data: new Uint8ClampedArray(width * height * 4) });
      }
    },
    createImageBitmap: async (source) => {
      const size = source instanceof Blob ? { width: 4, height: 2 } : source;
      return { source, width: size.width, height: size.height, close: () => closed.push(source) };
    },
    document: { querySelector: (name) => (name === "#out" ? canvas : null) },
  });
  const paint = sdk.paintTo("#out");
  await paint({ data: JPEG, video: null, flags: 0, codec: 1, width: 4, height: 2 });
  assert.deepEqual([canvas.width, canvas.height, closed.length], [4, 2, 1]);
  await paint({ data: new Uint8Array([1, 2, 3, 4, 5, 6]), video: null, flags: 0, codec: 2, width: 2, height: 1 });
  assert.deepEqual([...canvas.drawn[1][0].source.data], [1, 2, 3, 255, 4, 5, 6, 255]);
  assert.deepEqual(canvas.drawn[1].slice(1), [0, 0, 2, 1, 0, 0, 2, 1]);
  assert.throws(() => sdk.paintTo("#none"), { name: "StreamgenError", code: "no_canvas" });
});
