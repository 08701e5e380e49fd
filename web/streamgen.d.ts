// What the package `streamgen` exports. js/streamgen.js is the thing itself; tests/types.ts holds the two together.

import type {
  Camera,
  Format,
  Header,
  HeaderFields,
  InputFrame,
  Options,
  Output,
  Reformatted,
  Settings,
  Snapshot,
  State,
  Statistics,
  Stats,
  Switched,
  Transport,
  TransportWish,
  Updated,
  VideoOptions,
  Welcome,
  Event,
} from "./js/types.js";

export type * from "./js/types.js";

/** Connect to a server's `/ws`. Call `close()` when done; until then it reconnects by itself.
 * @param url in a page also one relative to it */
export function connect(url: string | URL, options?: Options): Stream;

/** Made by `connect`. */
export class Stream {
  constructor(url: string, options: Options);
  readonly url: string;
  readonly options: Options & Required<Pick<Options, "onError">>;
  readonly state: State;
  /** The session's name; before the first welcome the one asked for. */
  readonly session: string | undefined;
  /** As things are now; null before the first. */
  readonly welcome: Welcome | null;
  /** In force on the server, as last heard. */
  readonly settings: Settings;
  readonly format: Format | undefined;
  readonly paused: boolean;
  /** What carries the present connection, or tries to, and why. */
  readonly transport: Transport;
  /** To the server and back, as last measured; null before. */
  readonly roundTripMs: number | null;
  /** Counted and measured here; `stats()` asks the server for its own. */
  readonly statistics: Statistics;
  /** Of WebRTC, for its `getStats()`; null without. */
  readonly peerConnection: RTCPeerConnection | null;
  /** True when a frame would be sent at once: encode one then, and not before. Over WebRTC never. */
  readonly ready: boolean;
  /** Send an encoded frame now, or remember it as the newest one; its `seq`, or null when it was not sent yet. */
  send(frame: InputFrame): number | null;
  /** Send another track, or none, over WebRTC. */
  replaceTrack(track: MediaStreamTrack | null): Promise<void>;
  /** Go on over another transport; `auto` tries WebRTC again. */
  useTransport(wish: TransportWish): void;
  /** Change live settings; resolves once they are in force. */
  update(patch: Settings): Promise<Updated>;
  /** Change the output's size or fit; resolves once outputs of the new format follow. */
  reformat(format: Partial<Format>): Promise<Reformatted>;
  /** Steer by this JPEG of at most `MAX_REFERENCE_BYTES`, or by none; resolves once it is in force. */
  reference(jpeg: ArrayBuffer | Uint8Array | null): Promise<unknown>;
  /** Have the server load another of `welcome.models`, for every session it serves. */
  switch(model: string, loras?: readonly string[]): Promise<Switched>;
  /** Publisher: stop computing. Viewer: stop receiving. */
  pause(): Promise<unknown>;
  /** End a pause. */
  resume(): Promise<unknown>;
  /** The newest output, losslessly. */
  snapshot(): Promise<Snapshot>;
  /** The server's counters of this session. */
  stats(): Promise<Stats>;
  /** Reconnect now instead of after the wait. */
  retryNow(): void;
  /** End the session (publisher) or leave it (viewer), for good. */
  close(): void;
}

/** A failure with the stable `code` of docs/protocol.md. `retryable`: the same may succeed later. */
export class StreamgenError extends Error {
  constructor(code: string, message: string, more?: { field?: string | null; retryable?: boolean });
  code: string;
  field: string | null;
  retryable: boolean;
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

/** Open a camera; rejects with a MediaError. In browsers. */
export function openCamera(wanted?: MediaTrackConstraints): Promise<Camera>;
/** Send the frames of a video that plays, wherever the stream goes over a WebSocket. Call the result to stop. */
export function sendVideo(stream: Stream, video: HTMLVideoElement, options?: VideoOptions): () => void;

export type Canvas = HTMLCanvasElement | OffscreenCanvas;
/** `packed`: `source` is twice as wide as the picture, its right half the alpha of its left one. */
export type Picture = {
  source: ImageBitmap | HTMLVideoElement;
  width: number;
  height: number;
  packed: boolean;
  close: () => void;
};
/** Paint outputs into a canvas, or into the one that a selector finds: an `onOutput`. In browsers. */
export function paintTo(canvas: Canvas | string, options?: { alpha?: boolean }): (output: Output) => Promise<void>;
/** The picture of an output; call its `close` once it is painted. In browsers. */
export function picture(output: Output): Promise<Picture>;
/** Paints pictures with their alpha. In browsers. */
export function unpacker<T extends Canvas>(canvas: T): { canvas: T; paint: (picture: Picture) => void };
/** Any picture as one that `reference` takes. In browsers. */
export function referenceJpeg(
  picture: Blob | ImageBitmap | HTMLCanvasElement | OffscreenCanvas | HTMLImageElement,
): Promise<Uint8Array<ArrayBuffer>>;

/** One binary message: the 48-byte header, then the picture. */
export function packFrame(header: HeaderFields, picture: ArrayBuffer | Uint8Array): Uint8Array<ArrayBuffer>;
/** Split a binary message into its header and a view of its picture; throws a ProtocolError. */
export function parseFrame(message: ArrayBuffer | Uint8Array<ArrayBuffer>): {
  header: Header;
  picture: Uint8Array<ArrayBuffer>;
};
/** Settings after a change, as the server makes it. */
export function mergeSettings(current: Settings, changes: Settings): Settings;
/** In base64: standard alphabet, padded. */
export function toBase64(data: ArrayBuffer | Uint8Array): string;

export const SUBPROTOCOL: "streamgen.v1";
export const HEADER_BYTES: 48;
/** Of a reference picture. */
export const MAX_REFERENCE_BYTES: number;
export const KIND: { readonly input: 1; readonly output: 2; readonly snapshot: 3 };
export const CODEC: { readonly jpeg: 1; readonly raw: 2; readonly png: 3 };
export const FLAG: { readonly gapBefore: 1; readonly warmUp: 2; readonly alpha: 4 };
/** Every state and what each event makes of it. */
export const STATES: Readonly<Record<State, Partial<Record<Event, State>>>>;
/** Close codes after which the same connection would only fail again. */
export const FINAL_CODES: readonly number[];
/** Why a stream went over to the WebSocket where UDP is blocked. */
export const NO_MEDIA: string;
