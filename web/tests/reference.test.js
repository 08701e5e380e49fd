import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { referenceJpeg, referenceSize } from "../js/reference.js";
import { MAX_REFERENCE_BYTES } from "../js/streamgen.js";

/** What was drawn: [what, width, height]. */
let drawn;
/** What was encoded: [width, height, quality]. */
let encoded;
/** Bytes that a pixel takes at full quality. */
let bytesPerPixel;

class FakeCanvas {
  constructor(width, height) {
    Object.assign(this, { width, height });
  }

  getContext() {
    return { fillRect: () => {}, drawImage: (what, _x, _y, width, height) => drawn.push([what, width, height]) };
  }

  async convertToBlob({ type, quality }) {
    encoded.push([this.width, this.height, quality]);
    return new Blob([new Uint8Array(Math.round(this.width * this.height * bytesPerPixel * quality))], { type });
  }
}

class FakeBitmap {
  closed = false;
  constructor(width, height) {
    Object.assign(this, { width, height });
  }

  close() {
    this.closed = true;
  }
}

beforeEach(() => {
  [drawn, encoded, bytesPerPixel] = [[], [], 0.1];
  globalThis.OffscreenCanvas = FakeCanvas;
});

test("a picture is drawn to at most 512 pixels a side, and never enlarged", () => {
  assert.deepEqual(referenceSize(4000, 3000, 512), { width: 512, height: 384 });
  assert.deepEqual(referenceSize(300, 200, 512), { width: 300, height: 200 });
});

test("no side becomes thinner than a reference picture may be", () => {
  assert.deepEqual(referenceSize(8000, 40, 512), { width: 512, height: 16 });
  assert.deepEqual(referenceSize(1, 1, 512), { width: 16, height: 16 });
});

test("a picture that is small enough is encoded once", async () => {
  const jpeg = await referenceJpeg(new FakeBitmap(640, 480));
  assert.ok(jpeg instanceof Uint8Array);
  assert.equal(jpeg.byteLength, Math.round(512 * 384 * 0.1 * 0.9));
  assert.deepEqual(encoded, [[512, 384, 0.9]]);
});

test("the quality is lowered before the size", async () => {
  bytesPerPixel = 0.5;
  const jpeg = await referenceJpeg(new FakeBitmap(1000, 1000));
  assert.ok(jpeg.byteLength <= MAX_REFERENCE_BYTES);
  const tried = [512, 512, 512, 384].map((side, index) => [side, side, [0.9, 0.75, 0.6, 0.9][index]]);
  assert.deepEqual(encoded.slice(0, 4), tried);
  assert.deepEqual(encoded.at(-1), [384, 384, 0.6]);
});

test("the picture is looked at once, at once: it may be closed or painted over afterwards", async () => {
  bytesPerPixel = 0.5;
  const bitmap = new FakeBitmap(1000, 1000);
  const jpeg = referenceJpeg(bitmap);
  assert.deepEqual(drawn, [[bitmap, 512, 512]]);
  await jpeg;
  assert.equal(drawn.filter(([what]) => what === bitmap).length, 1);
});

test("an image has its natural size", async () => {
  await referenceJpeg({ naturalWidth: 100, naturalHeight: 50, width: 10, height: 5 });
  assert.deepEqual(encoded, [[100, 50, 0.9]]);
});

test("a file is decoded and let go", async () => {
  const bitmap = new FakeBitmap(64, 64);
  globalThis.createImageBitmap = async () => bitmap;
  await referenceJpeg(new Blob(["file"]));
  assert.equal(bitmap.closed, true);
});

test("what is no picture is an error with a code", async () => {
  globalThis.createImageBitmap = () => Promise.reject(new DOMException("no", "InvalidStateError"));
  await assert.rejects(referenceJpeg(new Blob(["text"])), { code: "bad_image", field: "image" });
  await assert.rejects(referenceJpeg({ naturalWidth: 0, naturalHeight: 0 }), { code: "bad_image" });
});

test("a picture that fits at no size is an error with a code", async () => {
  bytesPerPixel = 9;
  await assert.rejects(referenceJpeg(new FakeBitmap(1000, 1000)), { code: "bad_image" });
});
