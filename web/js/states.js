// The states of a stream, and which end of a connection is the end of it. Pure.

/** @import {Event, State} from "./types.js" */

/** Every state and what each event makes of it; an event that is not listed changes nothing. `move` is the way from one
 * transport to another.
 * @type {Readonly<Record<State, Partial<Record<Event, State>>>>} */
export const STATES = Object.freeze({
  connecting: { welcome: "open", lost: "reconnecting", end: "closed" },
  open: { lost: "reconnecting", move: "connecting", end: "closed" },
  reconnecting: { retry: "connecting", move: "connecting", end: "closed" },
  closed: {},
});

/** Close codes after which the same connection would only fail again. */
export const FINAL_CODES = Object.freeze([1000, 4400, 4401, 4403, 4408, 4409, 4411, 4412]);
