// The settings of the last visit, which a new session begins with.

import { known } from "./loras.js";

/** @import {Settings} from "./types.js" */

const KEPT = "streamgen.settings";

/** @param {Settings} settings */
export function remember(settings) {
  localStorage.setItem(KEPT, JSON.stringify(settings));
}

export function forget() {
  localStorage.removeItem(KEPT);
}

/** As far as this server can have them. @param {{loras: Record<string, number>}} welcome @returns {Settings} */
export function recall({ loras }) {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
    return "loras" in kept ? { ...kept, loras: known(kept.loras, loras) } : kept;
  } catch {
    return {};
  }
}
