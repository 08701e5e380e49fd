// Stand-ins for WebRTC: a peer connection and a server to signal with, both of which do what the test says.

import { settled, WELCOME } from "./fakes.js";

/** Every FakePeer made, oldest first. */
export const peers = [];
/** Every video element made, oldest first. */
export const videos = [];

class FakeChannel {
  readyState = "connecting";
  sent = [];
  constructor(label) {
    this.label = label;
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  open() {
    this.readyState = "open";
    this.onopen();
  }

  message(data) {
    this.onmessage({ data: data instanceof ArrayBuffer ? data : JSON.stringify(data) });
  }

  texts(type) {
    return this.sent.filter((message) => message.type === type);
  }
}

class FakeSender {
  parameters = { encodings: [{}] };
  constructor(track) {
    this.track = track;
  }

  async replaceTrack(track) {
    this.track = track;
  }

  getParameters() {
    return structuredClone(this.parameters);
  }

  async setParameters(parameters) {
    this.parameters = parameters;
  }
}

export class FakePeer {
  /** What `getStats` and candidates are left to. */
  transceivers = [];
  closed = false;
  localDescription = null;
  constructor(configuration) {
    this.configuration = configuration;
    peers.push(this);
  }

  createDataChannel(label) {
    return (this.channel = new FakeChannel(label));
  }

  addTransceiver(what, init) {
    const track = typeof what === "string" ? null : what;
    const kind = track?.kind ?? what;
    const made = { ...init, kind, sender: new FakeSender(track), receiver: { track: new FakeTrack(kind) } };
    made.setCodecPreferences = (codecs) => (made.codecs = codecs);
    this.transceivers.push(made);
    return made;
  }

  async setLocalDescription() {
    this.localDescription = { type: "offer", sdp: "v=0 offer" };
    if (FakePeer.gathers) queueMicrotask(() => this.onicecandidate({ candidate: null }));
  }

  async setRemoteDescription(answer) {
    this.answer = answer;
    for (const { receiver } of this.transceivers) this.ontrack({ track: receiver.track });
  }

  close() {
    this.closed = true;
  }

  get video() {
    return this.transceivers.find(({ kind }) => kind === "video");
  }
}

export class FakeTrack {
  contentHint = "";
  constructor(kind = "video", settings = {}) {
    Object.assign(this, { kind, settings });
  }

  getSettings() {
    return this.settings;
  }
}

class FakeVideo {
  videoWidth = 256;
  videoHeight = 256;
  constructor() {
    videos.push(this);
  }

  async play() {}

  requestVideoFrameCallback(run) {
    this.run = run;
  }

  /** The browser shows a frame. */
  show(rtpTimestamp, more = {}) {
    this.run(0, { rtpTimestamp, ...more });
  }
}

/** Answers as the server does. `refusals` are taken first, one for each offer. */
export class FakeSignalling {
  asked = [];
  refusals = [];
  iceServers = [];
  welcome = WELCOME;

  fetch = async (url, { method = "GET", headers, body, keepalive }) => {
    const path = new URL(url).pathname;
    this.asked.push({ method, path, headers, keepalive, body: body && JSON.parse(body) });
    if (this.down) throw new TypeError("fetch failed");
    if (path === "/webrtc/ice-servers") {
      return this.iceServers ? respond(200, this.iceServers) : respond(404, null);
    }
    if (method === "DELETE") return respond(200, {});
    const refusal = this.refusals.shift();
    if (refusal) return respond(refusal.status, refusal.body);
    return respond(200, { type: "answer", sdp: "v=0 answer", welcome: this.welcome }, { Location: "/webrtc/abc" });
  };

  all(method) {
    return this.asked.filter((one) => one.method === method);
  }

  get hellos() {
    return this.all("POST").map(({ body }) => body.hello);
  }
}

function respond(status, body, headers = {}) {
  return new Response(body === null ? "not found" : JSON.stringify(body), { status, headers });
}

/** What a browser has and node has not. */
export function pretendBrowser() {
  peers.length = videos.length = 0;
  FakePeer.gathers = true;
  globalThis.MediaStream = class {
    constructor(tracks = []) {
      this.tracks = tracks;
    }
  };
  globalThis.document = { hidden: false, createElement: () => new FakeVideo() };
  const codecs = ["VP8", "rtx", "H264", "AV1"].map((name) => ({ mimeType: `video/${name}` }));
  globalThis.RTCRtpReceiver = { getCapabilities: () => ({ codecs }) };
}

/** Let everything that waits for an answer go on. */
export async function calm() {
  for (let turn = 0; turn < 12; turn += 1) await settled();
}
