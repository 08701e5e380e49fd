// The frames of streamgen.v1: a 48-byte header, then a picture. Pure; docs/protocol.md specifies it.

import { ProtocolError } from "./errors.js";

/** @import {Header, HeaderFields} from "./types.js" */

export const SUBPROTOCOL = "streamgen.v1";
export const HEADER_BYTES = 48;
export const KIND = Object.freeze({ input: 1, output: 2, snapshot: 3 });
export const CODEC = Object.freeze({ jpeg: 1, raw: 2, png: 3 });
export const FLAG = Object.freeze({ gapBefore: 1, warmUp: 2, alpha: 4 });

/** Of a reference picture: in base64 it has to fit into a text message of 65,536 characters. */
export const MAX_REFERENCE_BYTES = 48_000;

const MAX_PIXELS = 4_000_000;

/** One binary message: the 48-byte header, then the picture.
 * @param {HeaderFields} header @param {ArrayBuffer | Uint8Array} picture @returns {Uint8Array<ArrayBuffer>} */
export function packFrame(header, picture) {
  const message = new Uint8Array(HEADER_BYTES + picture.byteLength);
  const view = new DataView(message.buffer);
  message.set([0x53, 0x47, 1, header.kind, header.codec, header.flags ?? 0]);
  view.setUint16(6, HEADER_BYTES, true);
  view.setUint32(8, header.seq, true);
  view.setUint32(12, header.sourceSeq ?? 0, true);
  view.setUint32(16, header.settingsRev ?? 0, true);
  view.setUint16(20, header.width, true);
  view.setUint16(22, header.height, true);
  view.setBigUint64(24, BigInt(Math.round(header.capturedUs ?? 0)), true);
  view.setUint32(32, header.queueUs ?? 0, true);
  view.setUint32(36, header.engineUs ?? 0, true);
  view.setUint32(40, header.encodeUs ?? 0, true);
  message.set(asBytes(picture), HEADER_BYTES);
  return message;
}

/** @template {ArrayBufferLike} T @param {ArrayBuffer | Uint8Array<T>} data */
const asBytes = (data) => (data instanceof ArrayBuffer ? new Uint8Array(data) : data);

/** In base64: standard alphabet, padded. @param {ArrayBuffer | Uint8Array} data */
export const toBase64 = (data) => btoa(Array.from(asBytes(data), (byte) => String.fromCharCode(byte)).join(""));

/** Split a binary message into its header and a view of its picture; throws a ProtocolError.
 * @param {ArrayBuffer | Uint8Array<ArrayBuffer>} message
 * @returns {{header: Header, picture: Uint8Array<ArrayBuffer>}} */
export function parseFrame(message) {
  const bytes = asBytes(message);
  if (bytes.length < HEADER_BYTES) throw new ProtocolError("truncated_header", `got ${bytes.length} of 48 bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint16(6, true);
  const header = {
    kind: bytes[3],
    codec: bytes[4],
    flags: bytes[5],
    seq: view.getUint32(8, true),
    sourceSeq: view.getUint32(12, true),
    settingsRev: view.getUint32(16, true),
    width: view.getUint16(20, true),
    height: view.getUint16(22, true),
    capturedUs: Number(view.getBigUint64(24, true)),
    queueUs: view.getUint32(32, true),
    engineUs: view.getUint32(36, true),
    encodeUs: view.getUint32(40, true),
  };
  checkHeader(bytes, length, header);
  return { header, picture: bytes.subarray(length) };
}

/** @param {Uint8Array} bytes @param {number} length @param {Header} header */
function checkHeader(bytes, length, { kind, codec, width, height }) {
  /** @type {(field: string, code: string, fact: string) => never} */
  const refuse = (field, code, fact) => {
    throw new ProtocolError(code, fact, { field });
  };
  if (bytes[0] !== 0x53 || bytes[1] !== 0x47) refuse("magic", "bad_magic", "a frame starts with SG");
  if (bytes[2] !== 1) refuse("version", "unsupported_version", `this is version 1, got ${bytes[2]}`);
  if (length < HEADER_BYTES || length > bytes.length)
    refuse("header_length", "bad_header_length", `header_length must be 48 to ${bytes.length}, got ${length}`);
  if (kind < 1 || kind > 3) refuse("kind", "unknown_kind", `kind must be 1 to 3, got ${kind}`);
  if (codec < 1 || codec > 3) refuse("codec", "unknown_codec", `codec must be 1 to 3, got ${codec}`);
  if (!width || !height) refuse("width", "bad_size", `a side must be at least 1, got ${width}x${height}`);
  if (width * height > MAX_PIXELS) refuse("width", "frame_too_large", `over ${MAX_PIXELS} pixels: ${width}x${height}`);
  if (length === bytes.length) refuse("payload", "empty_payload", "a frame needs a picture behind its header");
}
