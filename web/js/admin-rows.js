// What the operator's table says of a session. Pure.

/** @import {Listed, Listing} from "./admin-api.js" */

/** The columns, in order, each with what it says. @type {Record<string, (session: Listed) => string>} */
export const COLUMNS = {
  name: ({ name }) => name,
  age: ({ age_s }) => duration(age_s),
  who: ({ publisher, viewers }) => `${publisher ? "publisher" : "no publisher"}, ${count(viewers, "viewer")}`,
  size: ({ format, given }) => {
    const { width, height } = given ?? format;
    return `${width}×${height}${format.upscale > 1 ? ` (upscaled ${format.upscale}×)` : ""}`;
  },
  rate: ({ received_fps, computed_fps }) => `${Math.round(received_fps)} / ${Math.round(computed_fps)} fps`,
  engine: ({ stages }) => (stages.engine_ms ? `${stages.engine_ms.p50.toFixed(1)} ms` : "–"),
  drops: ({ drops }) => String(Object.values(drops).reduce((sum, dropped) => sum + dropped, 0)),
  device: ({ device }) => device ?? "–",
  settings: ({ settings }) => Object.entries(settings).map(([name, value]) => `${name} ${shown(value)}`).join(", ") || "as they are",
};

/** What a session is given instead of what it asks for; empty where it gets that. @param {Listed} session */
export function reduced({ given }) {
  if (!given) return "";
  const { width, height, steps, max_fps } = given;
  return `given less: ${width}×${height}, ${count(steps, "step")}, at most ${max_fps} fps`;
}

/** Why a session's frames were dropped, a reason a line. @param {Listed} session */
export function reasons({ drops }) {
  return Object.entries(drops).map(([reason, dropped]) => `${reason}: ${dropped}`).join("\n");
}

/** How full the server is. @param {Listing} listing */
export function fullness({ sessions, limit, queue }) {
  return `${sessions.length} of ${count(limit, "session")}${queue ? `, ${queue} waiting` : ""}`;
}

/** @param {number} seconds */
export function duration(seconds) {
  const [minutes, hours] = [Math.floor(seconds / 60), Math.floor(seconds / 3600)];
  if (hours) return `${hours} h ${minutes % 60} min`;
  return minutes ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}

/** @param {number} number @param {string} what */
function count(number, what) {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

/** @param {unknown} value */
function shown(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}
