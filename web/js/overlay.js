// The overlay for OBS: a viewer of one session that comes back for ever and never shows anything but the picture.
// Options stand in the fragment: #session=NAME&fit=cover|contain&mirror=1&lost=keep|hide

import { byId } from "./dom.js";
import { connect } from "./streamgen.js";

/** @import {Output} from "./types.js" */

const canvas = byId("screen", HTMLCanvasElement);
const context = canvas.getContext("2d");

/** @returns {{session: string, fit: string, mirror: boolean, hide: boolean}} */
function options() {
  const given = new URLSearchParams(location.hash.slice(1));
  return {
    session: given.get("session") ?? "",
    fit: given.get("fit") === "cover" ? "cover" : "contain",
    mirror: given.get("mirror") === "1",
    hide: given.get("lost") === "hide",
  };
}

/** @param {Output} output */
async function paint(output) {
  const bitmap = await createImageBitmap(new Blob([output.data], { type: "image/jpeg" }));
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  context?.drawImage(bitmap, 0, 0);
  bitmap.close();
  Object.assign(canvas.dataset, { seq: output.seq, rev: output.settingsRev, shown: true });
}

/** @param {ReturnType<typeof options>} chosen */
function view({ session, fit, mirror, hide }) {
  Object.assign(canvas.dataset, { fit, mirror, shown: false });
  const url = new URL("ws", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return connect(url, {
    role: "view",
    session,
    client: "overlay",
    maxBackoffMs: 5000,
    comesBack: () => true,
    onOutput: paint,
    onState: (state) => {
      canvas.dataset.state = state;
      if (hide && state !== "open") canvas.dataset.shown = "false";
    },
  });
}

if (options().session) {
  let stream = view(options());
  addEventListener("hashchange", () => {
    stream.close();
    stream = view(options());
  });
  // OBS tells a browser source when its scene leaves the program: spend nothing on what nobody sees.
  addEventListener("obsSourceVisibleChanged", (event) => {
    const { visible } = /** @type {CustomEvent<{visible: boolean}>} */ (event).detail;
    (visible ? stream.resume() : stream.pause()).catch(() => {});
  });
}
