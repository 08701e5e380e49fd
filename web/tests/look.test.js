import assert from "node:assert/strict";
import { test } from "node:test";

import { readAs } from "../js/look.js";

test("a mix is shown with its shares, the strongest first", () => {
  assert.equal(readAs({ pencil: 0.4, comic: 0.6 }, 0.9), "Read as comic 60%, pencil 40%");
});

test("shares that hardly count are left out", () => {
  assert.equal(readAs({ oil: 0.97, ink: 0.03 }, 0.8), "Read as oil");
});

test("one style needs no share", () => {
  assert.equal(readAs({ "van gogh": 1 }, 1), "Read as van gogh");
});

test("a guess is called a guess, and what is not understood at all the nearest", () => {
  assert.equal(readAs({ neon: 1 }, 0.35), "Not sure what you mean; read as neon");
  assert.equal(readAs({ neon: 0.5, ink: 0.5 }, 0.05), "Not understood; showing the nearest: neon 50%, ink 50%");
});

test("words that no model could place are answered with a way out", () => {
  assert.equal(readAs({}, 0), "None of these words is known here; try a style below.");
});
