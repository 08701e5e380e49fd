// What an overlay's address says of it, behind the #. Pure.

/** @import {TransportWish} from "./types.js" */

/**
 * @typedef {"contain" | "cover" | "fill"} Fit
 * @typedef {"freeze" | "hide" | "card"} Lost
 * @typedef {{session: string, token: string | undefined, fit: Fit, mirror: boolean, delayMs: number, fps: number,
 *   transport: TransportWish, lost: Lost}} OverlayOptions
 */

const MAX_DELAY_MS = 10_000;

/** What is missing or no valid value is the first of its choices: an overlay on air shows no complaints.
 * @param {string} fragment with or without its # @returns {OverlayOptions} */
export function overlayOptions(fragment) {
  const given = new URLSearchParams(fragment.replace(/^#/, ""));
  const number = (/** @type {string} */ name) => Math.max(0, Number(given.get(name)) || 0);
  return {
    session: given.get("session") ?? "",
    token: given.get("token") ?? undefined,
    fit: choice(given.get("fit"), ["contain", "cover", "fill"]),
    mirror: given.get("mirror") === "1",
    delayMs: Math.min(MAX_DELAY_MS, number("delay")),
    fps: number("fps") || Infinity,
    transport: choice(given.get("transport"), ["auto", "webrtc", "websocket"]),
    lost: choice(given.get("lost"), ["freeze", "hide", "card"]),
  };
}

/** @template {string} T @param {string | null} given @param {readonly T[]} choices @returns {T} */
function choice(given, choices) {
  return choices.find((one) => one === given) ?? choices[0];
}
