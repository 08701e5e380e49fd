// streamgen.js: publish video to a streamgen session, or view one. The one module to import; it imports its neighbours.
// docs/javascript.md shows how to use it; docs/protocol.md is the wire format it speaks.

export { mergeSettings } from "./changes.js";
export { FINAL_CODES, STATES } from "./states.js";
export { connect, Stream } from "./stream.js";
export { NO_MEDIA } from "./transport.js";
export {
  CODEC,
  FLAG,
  HEADER_BYTES,
  KIND,
  MAX_REFERENCE_BYTES,
  packFrame,
  parseFrame,
  StreamError,
  SUBPROTOCOL,
  toBase64,
} from "./wire.js";
