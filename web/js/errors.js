// What a server says no with, and what a caller got wrong, as one class for each kind; streamgen.errors in Python has the
// same names. Pure.

/** A failure with the stable `code` of docs/protocol.md. `retryable`: the same may succeed later. */
export class StreamgenError extends Error {
  /** @param {string} code @param {string} message @param {{field?: string | null, retryable?: boolean}} [more] */
  constructor(code, message, { field = null, retryable = false } = {}) {
    super(message);
    this.name = new.target.name;
    this.code = code;
    this.field = field;
    this.retryable = retryable;
  }
}

/** A model, or what it is loaded with, that cannot be had. */
export class ConfigError extends StreamgenError {}
/** The backend cannot run on the server's machine. */
export class BackendUnavailable extends ConfigError {}
/** Weights are missing, corrupt or of another format. */
export class WeightsError extends ConfigError {}
/** A message or a frame that is not streamgen.v1. */
export class ProtocolError extends StreamgenError {}
/** This client may not come in: its token, or the page's origin. */
export class AccessError extends StreamgenError {}
/** A setting or a format that is unknown or out of range. */
export class SettingsError extends StreamgenError {}
/** A picture that cannot be read. */
export class CodecError extends StreamgenError {}
/** A session that does not exist, is taken, or is lost. */
export class SessionError extends StreamgenError {}
/** A camera that cannot be opened. */
export class MediaError extends StreamgenError {}
/** The server's compute process failed. */
export class WorkerError extends StreamgenError {}

/** What is not in it is a `ProtocolError`. @type {Readonly<Record<string, typeof StreamgenError>>} */
export const ERRORS = Object.freeze({
  unauthorised: AccessError,
  origin_not_allowed: AccessError,
  token_expired: AccessError,
  token_scope: AccessError,
  too_many_requests: AccessError,
  unknown_setting: SettingsError,
  invalid_settings: SettingsError,
  prompt_refused: SettingsError,
  undecodable: CodecError,
  size_mismatch: CodecError,
  bad_image: CodecError,
  no_reference: SettingsError,
  engine_failed: WorkerError,
  worker_restarted: WorkerError,
  worker_not_ready: WorkerError,
  no_such_session: SessionError,
  publisher_exists: SessionError,
  not_publisher: SessionError,
  bad_resume_token: SessionError,
  server_full: SessionError,
  queue_full: SessionError,
  no_output_yet: SessionError,
  too_many_updates: SessionError,
  superseded: SessionError,
  switch_pending: SessionError,
  switch_failed: WorkerError,
  worker_died: WorkerError,
  unknown_model: ConfigError,
  unknown_lora: ConfigError,
  backend_unavailable: BackendUnavailable,
  weights_missing: WeightsError,
  weights_corrupt: WeightsError,
  lora_unusable: WeightsError,
});

/** By close code. @type {Readonly<Record<number, [string, typeof StreamgenError]>>} */
export const CLOSED = Object.freeze({
  1000: ["closed", SessionError],
  1009: ["message_too_big", SessionError],
  1013: ["server_full", SessionError],
  4400: ["not_understood", ProtocolError],
  4401: ["unauthorised", AccessError],
  4403: ["origin_not_allowed", AccessError],
  4404: ["no_such_session", SessionError],
  4408: ["idle", SessionError],
  4409: ["publisher_exists", SessionError],
  4410: ["too_slow", SessionError],
  4411: ["token_expired", AccessError],
  4412: ["token_scope", AccessError],
  4429: ["too_many_requests", AccessError],
  4503: ["shutting_down", SessionError],
});

/** The error of a message. @param {{code: string, message: string, field?: string | null, retryable?: boolean}} message */
export function typedError({ code, message, field, retryable }) {
  return new (ERRORS[code] ?? ProtocolError)(code, message, { field, retryable });
}

/** Why a connection ended. @param {number} code @param {string} reason @param {boolean} retryable */
export function closedError(code, reason, retryable) {
  const [name, Kind] = CLOSED[code] ?? ["connection_lost", SessionError];
  return new Kind(name, reason || `the connection was closed with code ${code}`, { retryable });
}
