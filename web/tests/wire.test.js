import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { connect, HEADER_BYTES, mergeSettings, packFrame, parseFrame, StreamgenError, SUBPROTOCOL } from "../js/streamgen.js";
import { FakeClock, FakeSocket, sockets } from "./fakes.js";

const golden = JSON.parse(readFileSync(new URL("../../tests/golden/protocol.json", import.meta.url), "utf8"));
const bytes = (hex) => new Uint8Array(Buffer.from(hex, "hex"));
const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
const header = (golden) => Object.fromEntries(Object.entries(golden).map(([name, value]) => [camel(name), value]));

test("the constants are the golden ones", () => {
  assert.equal(SUBPROTOCOL, golden.subprotocol);
  assert.equal(HEADER_BYTES, golden.header_bytes);
});

for (const vector of golden.frames.valid) {
  test(`parses ${vector.name}`, () => {
    const parsed = parseFrame(bytes(vector.hex));
    assert.deepEqual(parsed.header, header(vector.header));
    assert.equal(Buffer.from(parsed.picture).toString("hex"), vector.payload_hex);
  });

  // A number above 2**53 is no longer exact in JavaScript; the year 2255 is soon enough.
  if (vector.parse_only || !Number.isSafeInteger(vector.header.captured_us)) continue;
  test(`packs ${vector.name}`, () => {
    const packed = packFrame(header(vector.header), bytes(vector.payload_hex));
    assert.equal(Buffer.from(packed).toString("hex"), vector.hex);
  });
}

for (const vector of golden.frames.invalid) {
  test(`refuses ${vector.name}`, () => {
    assert.throws(
      () => parseFrame(bytes(vector.hex)),
      (error) => error instanceof StreamgenError && error.code === vector.code && error.field === vector.field,
    );
  });
}

test("a frame inside a larger buffer is parsed where it stands", () => {
  const whole = bytes(`ffff${golden.frames.valid[0].hex}`);
  assert.equal(parseFrame(whole.subarray(2)).header.width, 256);
});

for (const vector of golden.server_messages.valid) {
  test(`takes in ${vector.name}`, () => {
    const clock = new FakeClock();
    const errors = [];
    connect("ws://test/ws", { ...clock, WebSocket: FakeSocket, onError: (error) => errors.push(error.code) });
    sockets.at(-1).accept();
    sockets.at(-1).message(vector.text);
    assert.deepEqual(errors, vector.message.type === "error" ? [vector.message.code] : []);
  });
}

test("a new prompt alone ends a blend, as on the server", () => {
  const blend = [{ prompt: "comic", weight: 1 }];
  assert.deepEqual(mergeSettings({ prompts_blend: blend }, { prompt: "ink" }), { prompt: "ink", prompts_blend: [] });
  assert.deepEqual(mergeSettings({ prompt: "ink" }, { prompts_blend: blend }), { prompt: "ink", prompts_blend: blend });
  assert.deepEqual(mergeSettings({ seed: 1 }, { seed: 2 }), { seed: 2 });
});
