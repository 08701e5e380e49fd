// The types of streamgen.js, for editors and `npm run types`; nothing at run time needs this file.

import type { StreamError } from "./streamgen.js";

export type Role = "publish" | "view";
export type State = "connecting" | "open" | "reconnecting" | "closed";
export type Event = "welcome" | "lost" | "retry" | "end";
export type StateDetail = { code?: number; reason?: string; delayMs?: number };
export type Format = { width: number; height: number; fit: "cover" | "contain" };
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
  /** What `switchModel` may name. */
  models: string[];
  format: Format;
  settings: Settings;
  rev: number;
  limits: Limits;
};

export type Updated = {
  rev: number;
  settings: Settings;
  understood: number | null;
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

export type Stats = {
  frames_in: number;
  frames_out: number;
  drops: Record<string, number>;
  stages: Record<string, { p50: number; p90: number }>;
  viewers: number;
  backend: string;
};

/** `data` is a PNG. */
export type Snapshot = { seq: number; width: number; height: number; data: Uint8Array<ArrayBuffer> };

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

/** `data` is the encoded picture; times are Unix milliseconds, `sentMs` null where this client did not send the frame. */
export type Output = Header & { data: Uint8Array<ArrayBuffer>; sentMs: number | null; receivedMs: number };

export type Options = {
  /** `publish` unless said otherwise. */
  role?: Role;
  /** The name to publish under, or to view. */
  session?: string;
  /** Token of an earlier `welcome`: take that session over. */
  resume?: string;
  format?: Partial<Format>;
  settings?: Settings;
  /** Of the outputs. */
  codec?: "jpeg" | "raw";
  /** A name for the server's log. */
  client?: string;
  /** Reconnections in a row before giving up; unlimited unless said otherwise. */
  retries?: number;
  /** The longest wait between two of them; 30,000 unless said otherwise. */
  maxBackoffMs?: number;
  /** Whether a close code is worth a reconnection. */
  comesBack?: (code: number) => boolean;
  onWelcome?: (welcome: Welcome) => void;
  /** Paint it; the acknowledgement waits for a returned promise. */
  onOutput?: (output: Output) => unknown;
  onUpdated?: (updated: Updated) => void;
  /** Outputs have another size from now on. */
  onReformatted?: (reformatted: Reformatted) => void;
  /** The server has another model, whoever asked for it. */
  onSwitched?: (switched: Switched) => void;
  onState?: (state: State, detail: StateDetail) => void;
  onError?: (error: StreamError) => void;
  onWarning?: (warning: { code: string; message: string }) => void;
  /** A frame may be sent at once. */
  onReady?: () => void;
  /** A constructor like the browser's. */
  WebSocket?: any;
  /** Unix milliseconds. */
  now?: () => number;
  /** 0 to 1. */
  random?: () => number;
  setTimeout?: (callback: () => void, delayMs: number) => any;
  clearTimeout?: (timer: any) => void;
};
