// The types of streamgen.js, for editors and `npm run types`; nothing at run time needs this file.

import type { StreamgenError } from "../streamgen.js";

/** `control` looks at a session as a viewer does and may change it, for a publisher that speaks no streamgen.v1. */
export type Role = "publish" | "view" | "control";
export type State = "connecting" | "open" | "reconnecting" | "closed";
export type Event = "welcome" | "lost" | "retry" | "move" | "end";
/** `error`: what led to it. */
export type StateDetail = { code?: number; reason?: string; delayMs?: number; error?: StreamgenError };
export type Format = { width: number; height: number; fit: "cover" | "contain"; upscale: 1 | 2 | 4 };
export type Settings = Record<string, unknown>;
export type Limits = { max_message_bytes: number; max_pixels: number; credits: number; resume_seconds: number };

export type Welcome = {
  session: string;
  role: Role;
  resume: string | null;
  resumed: boolean;
  model: string;
  styles: string[];
  /** Settings that change nothing with this model. */
  unused: string[];
  /** LoRAs whose weight may be set, with the weight each was loaded with. */
  loras: Record<string, number>;
  /** Whether the model takes a reference picture. */
  reference: boolean;
  /** What `switch` may name. */
  models: string[];
  format: Format;
  settings: Settings;
  rev: number;
  limits: Limits;
};

export type Updated = {
  rev: number;
  settings: Settings;
  /** How well the model knows the prompt, 0 to 1; null when it cannot tell. */
  understood: number | null;
  /** The styles that the prompt was read as, with weights that sum to 1; the nearest where it was not understood. */
  styles: Record<string, number>;
};

export type Reformatted = { format: Format };

export type Switched = {
  model: string;
  styles: string[];
  unused: string[];
  loras: Record<string, number>;
  reference: boolean;
  backend: string;
  device: string;
};

export type Restyled = { styles: string[] };

export type Stats = {
  frames_in: number;
  frames_out: number;
  drops: Record<string, number>;
  stages: Record<string, { p50: number; p90: number }>;
  viewers: number;
  backend: string;
};

/** `png` is a whole file. */
export type Snapshot = { seq: number; width: number; height: number; png: Uint8Array<ArrayBuffer> };

/** What a stream counted and measured itself, since it was made. */
export type Statistics = {
  /** Frames that went out; over WebRTC the browser counts them. */
  sent: number;
  /** Frames that a newer one replaced before they could be sent. */
  replaced: number;
  /** Outputs that came. */
  received: number;
  reconnections: number;
  /** Outputs painted a second, over the last two. */
  fps: number;
  /** Of a publisher, from the capture of a frame until its output was painted, over the last 300; null before the first. */
  latencyMs: { p50: number; p90: number } | null;
  /** To the server and back; null before it was measured first. */
  roundTripMs: number | null;
};

/** A camera that is open: `track` for `connect`, `video` for `sendVideo`. */
export type Camera = { track: MediaStreamTrack; video: HTMLVideoElement; close: () => void };

/** `quality` of JPEG, 0 to 1. */
export type VideoOptions = { quality?: number };

/** A token, or a function that fetches one. */
export type Token = string | (() => string | Promise<string>);

/** `capturedUs`: Unix microseconds; the time of sending when left out. */
export type InputFrame = {
  data: ArrayBuffer | Uint8Array;
  width: number;
  height: number;
  capturedUs?: number;
  codec?: "jpeg" | "raw";
};

export type Header = {
  kind: number;
  codec: number;
  width: number;
  height: number;
  seq: number;
  sourceSeq: number;
  settingsRev: number;
  capturedUs: number;
  queueUs: number;
  engineUs: number;
  encodeUs: number;
  flags: number;
};
export type HeaderFields = Pick<Header, "kind" | "codec" | "width" | "height" | "seq"> & Partial<Header>;

/** What only the server knows of an output; over WebRTC null where it did not say so in time. */
export type OutputFacts = {
  seq: number | null;
  sourceSeq: number | null;
  settingsRev: number | null;
  capturedUs: number | null;
  queueUs: number | null;
  engineUs: number | null;
  encodeUs: number | null;
  flags: number;
};

/** Over a WebSocket `data` is the encoded picture. Over WebRTC `video` shows it, until the next one comes. Times are Unix
 * milliseconds, `sentMs` null where this client did not send the frame by itself. */
export type Output = OutputFacts & {
  kind: number;
  codec: number | null;
  width: number;
  height: number;
  data: Uint8Array<ArrayBuffer> | null;
  video: HTMLVideoElement | null;
  sentMs: number | null;
  receivedMs: number;
};

export type TransportKind = "webrtc" | "websocket";
export type TransportWish = "auto" | TransportKind;
/** `reason` is empty where there is nothing to explain. */
export type Transport = { kind: TransportKind; reason: string };
export type VideoCodec = "auto" | "h264" | "vp8";

/** How a connection ended. `hindrance`: it is WebRTC that cannot be had; for `certain`, or perhaps the server is away;
 * `told`: an error message said so. `resume`: the token of a session that was opened without anybody hearing of it. */
export type Closed = {
  code: number;
  reason: string;
  hindrance?: { certain: boolean; told: boolean };
  resume?: string;
};

/** A WebSocket, or what has its face. */
export type Socket = {
  onopen: ((event: any) => any) | null;
  onmessage: ((event: { data: any }) => any) | null;
  onclose: ((closed: any) => any) | null;
  send(data: string | Uint8Array<ArrayBuffer>): void;
  close(code: number): void;
  onoutput?: (output: Output) => void;
  onstream?: (stream: MediaStream, kind: "video" | "audio") => void;
  peer?: RTCPeerConnection | null;
  describe?(message: any): void;
  tune?(wanted: { maxFps?: number; format?: Format; paused: boolean }): void;
  replaceTrack?(track: MediaStreamTrack | null): Promise<void>;
};

export type Options = {
  /** `publish` unless said otherwise. */
  role?: Role;
  /** The name to publish under, or to view. */
  session?: string;
  /** Token of an earlier `welcome`: take that session over. */
  resume?: string;
  format?: Partial<Format>;
  settings?: Settings;
  /** Of the outputs over a WebSocket. */
  codec?: "jpeg" | "raw";
  /** Whether outputs with alpha may come with it packed beside their colour. */
  alpha?: boolean;
  /** Unless said otherwise `auto`: WebRTC where it works and there is a `track`, else a WebSocket. */
  transport?: TransportWish;
  /** What to send over WebRTC; null for nothing, as in a prompt stream. Left out, frames come from `send`. */
  track?: MediaStreamTrack | null;
  /** Sound of a publisher, which comes back as it was. Over WebRTC only. */
  audio?: MediaStreamTrack | null;
  /** The server's access token, or a function that fetches one: it is called before every connection, and at once when
   * the server says that the token has expired. */
  token?: Token;
  /** Of the video both ways over WebRTC; `auto` unless said otherwise. */
  videoCodec?: VideoCodec;
  /** A name for the server's log. */
  client?: string;
  /** Whether to come back after a lost connection; true unless said otherwise. */
  reconnect?: boolean;
  /** Reconnections in a row before giving up; unlimited unless said otherwise. */
  retries?: number;
  /** The longest wait between two of them; 30,000 unless said otherwise. */
  maxBackoffMs?: number;
  /** Whether a close code is worth a reconnection. */
  comesBack?: (code: number) => boolean;
  /** On a full server, wait for a place instead of being refused; over a WebSocket. */
  queue?: boolean;
  /** The position in that line, 1 for the next one, whenever it has changed. */
  onQueued?: (queued: { position: number }) => void;
  onWelcome?: (welcome: Welcome) => void;
  /** Paint it; the next one waits for a returned promise. */
  onOutput?: (output: Output) => unknown;
  onUpdated?: (updated: Updated) => void;
  /** Outputs have another size from now on. */
  onReformatted?: (reformatted: Reformatted) => void;
  /** The server has another model, whoever asked for it. */
  onSwitched?: (switched: Switched) => void;
  /** The model knows other styles than before. */
  onRestyled?: (restyled: Restyled) => void;
  /** The open connection goes another way than the one before. */
  onTransport?: (kind: TransportKind, reason: string) => void;
  /** What comes over WebRTC, for elements of the page's own. */
  onStream?: (stream: MediaStream, kind: "video" | "audio") => void;
  onState?: (state: State, detail: StateDetail) => void;
  onError?: (error: StreamgenError) => void;
  onWarning?: (warning: { code: string; message: string }) => void;
  /** A frame may be sent at once. */
  onReady?: () => void;
  /** A constructor like the browser's. */
  WebSocket?: any;
  RTCPeerConnection?: any;
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
  /** Unix milliseconds. */
  now?: () => number;
  /** 0 to 1. */
  random?: () => number;
  setTimeout?: (callback: () => void, delayMs: number) => any;
  clearTimeout?: (timer: any) => void;
};
