// streamgen.js: publish video to a streamgen session, or view one. The one module to import; it imports its neighbours.
// Nothing here needs a browser before it is called, so node imports it too. Its types are in ../streamgen.d.ts.
// docs/javascript.md shows how to use it; docs/protocol.md is the wire format it speaks.

export { openCamera, sendVideo } from "./camera.js";
export { mergeSettings } from "./changes.js";
export {
  AccessError,
  BackendUnavailable,
  CodecError,
  ConfigError,
  MediaError,
  ProtocolError,
  SessionError,
  SettingsError,
  StreamgenError,
  WeightsError,
  WorkerError,
} from "./errors.js";
export { paintTo } from "./paint.js";
export { picture } from "./picture.js";
export { referenceJpeg } from "./reference.js";
export { FINAL_CODES, STATES } from "./states.js";
export { connect, Stream } from "./stream.js";
export { NO_MEDIA } from "./transport.js";
export { unpacker } from "./unpack.js";
export {
  CODEC,
  FLAG,
  HEADER_BYTES,
  KIND,
  MAX_REFERENCE_BYTES,
  packFrame,
  parseFrame,
  SUBPROTOCOL,
  toBase64,
} from "./wire.js";
