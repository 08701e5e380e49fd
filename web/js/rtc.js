// A WebRTC connection with the face of a WebSocket: `onopen`, `send`, `onmessage`, `onclose`, `close`. In browsers.

import { preferCodec, VideoReceiver, VideoSender } from "./rtc-media.js";
import { NO_MEDIA, signallingUrl } from "./transport.js";
import { SUBPROTOCOL } from "./wire.js";

/** @import {Closed, Format, Output, Role, VideoCodec} from "./types.js" */

/** How long the server may take to answer an offer: it loads its model first. */
const ANSWER_MS = 40_000;
const CONNECT_MS = 3_000;
/** How long to look for addresses that a server on this network can reach, and for those a STUN or TURN server gives. */
const GATHER_MS = 500;
const GATHER_REMOTE_MS = 2_000;

const NO_WEBRTC = "the server has no WebRTC";

/** Why WebRTC cannot be had, although the server can. */
class Hindrance extends Error {}

/** What the server said no with. */
class Refusal extends Error {
  /** @param {number} close the code that a WebSocket would be closed with @param {string} text @param {string} reason */
  constructor(close, text, reason) {
    super(reason);
    this.close = close;
    this.text = text;
  }
}

/**
 * @typedef {object} RtcOptions
 * @property {Role} role
 * @property {MediaStreamTrack | null} track to send
 * @property {MediaStreamTrack | null} audio to send and get back
 * @property {string | undefined} token of the server
 * @property {VideoCodec} videoCodec
 * @property {any} RTCPeerConnection
 * @property {(url: string, init: RequestInit) => Promise<Response>} fetch
 * @property {() => number} now
 * @property {(run: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 */

/** Opens at once. The first text that is sent is the hello; it travels with the offer, and its answer is the first
 * message. Texts that follow ride on the data channel. Call `close` when done. */
export class RtcConnection {
  onopen = () => {};
  /** @type {(event: {data: string | ArrayBuffer}) => void} */ onmessage = () => {};
  /** @type {(closed: Closed) => void} */ onclose = () => {};
  /** @type {(output: Output) => void} */ onoutput = () => {};
  /** @type {(stream: MediaStream, kind: "video" | "audio") => void} */ onstream = () => {};
  /** @type {RTCPeerConnection | null} */ peer = null;
  /** @type {RTCDataChannel | null} */ #channel = null;
  /** @type {VideoSender | null} */ #sender = null;
  /** @type {VideoReceiver | null} */ #receiver = null;
  /** @type {any} */ #welcome = null;
  #hello = "";
  #location = "";
  #closed = false;
  #abort = new AbortController();
  /** @type {any} */ #timer;

  /** @param {string} url of the server's `/ws` @param {RtcOptions} options */
  constructor(url, options) {
    this.url = url;
    this.options = options;
    queueMicrotask(() => !this.#closed && this.onopen());
  }

  /** @param {string} text */
  send(text) {
    if (this.#channel?.readyState === "open") return this.#channel.send(text);
    const first = !this.#hello;
    this.#hello = text;
    if (first) void this.#connect();
  }

  /** What the server says of a video frame. @param {any} message */
  describe(message) {
    this.#receiver?.describe(message);
  }

  /** @param {MediaStreamTrack | null} track */
  async replaceTrack(track) {
    this.options.track = track;
    await this.#sender?.replace(track);
  }

  /** What is of use to send. @param {{maxFps?: number, format?: Format, paused: boolean}} wanted */
  tune(wanted) {
    this.#sender?.tune(wanted);
  }

  close() {
    if (this.#closed) return;
    this.#closed = true;
    this.options.clearTimeout(this.#timer);
    this.#abort.abort();
    this.#receiver?.stop();
    this.peer?.close();
    this.#leave();
  }

  /** Or the server would wait for the silence, and keep the session's name meanwhile. */
  #leave() {
    if (!this.#location) return;
    const gone = this.options.fetch(this.#location, { method: "DELETE", keepalive: true, headers: this.#headers() });
    gone.catch(() => {}); // then the server hears from the silence
  }

  async #connect() {
    try {
      if (!this.options.RTCPeerConnection) throw new Hindrance("this browser has no WebRTC");
      const peer = await this.#prepare();
      const answer = await this.#answered(peer.localDescription?.sdp ?? "");
      if (this.#closed) return this.#leave();
      this.#welcome = answer.welcome;
      this.options.clearTimeout(this.#timer);
      this.#timer = this.options.setTimeout(() => this.#failed(new Hindrance(NO_MEDIA)), CONNECT_MS);
      await peer.setRemoteDescription({ type: "answer", sdp: answer.sdp });
    } catch (error) {
      this.#failed(error);
    }
  }

  /** @returns {Promise<RTCPeerConnection>} with an offer, and the addresses this end can be reached at in it */
  async #prepare() {
    const iceServers = await this.#iceServers();
    this.#abort.signal.throwIfAborted();
    /** @type {RTCPeerConnection} */
    const peer = new this.options.RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.peer = peer;
    peer.ontrack = ({ track }) => this.#tracked(track);
    this.#join(peer.createDataChannel(SUBPROTOCOL));
    this.#addVideo(peer);
    this.#addAudio(peer);
    const gathered = this.#gathered(peer, iceServers);
    await peer.setLocalDescription();
    await gathered;
    return peer;
  }

  /** @param {RTCDataChannel} channel */
  #join(channel) {
    this.#channel = channel;
    channel.binaryType = "arraybuffer";
    channel.onmessage = ({ data }) => this.onmessage({ data });
    channel.onclose = () => {
      this.#location = ""; // by the other end, which knows
      this.#end(1006, "the connection was closed");
    };
    channel.onopen = () => {
      this.options.clearTimeout(this.#timer);
      this.onmessage({ data: JSON.stringify(this.#welcome) });
    };
  }

  /** @param {RTCPeerConnection} peer */
  #addVideo(peer) {
    const { role, track, videoCodec } = this.options;
    const publishes = role === "publish";
    const direction = publishes ? "sendrecv" : "recvonly";
    const streams = publishes ? [new MediaStream()] : [];
    const video = peer.addTransceiver((publishes && track) || "video", { direction, streams });
    if (!preferCodec(video, videoCodec)) throw new Hindrance(`this browser has no ${videoCodec}`);
    // The newest frame now, not the smoothest sequence; the second one is the name that older browsers know.
    Object.assign(video.receiver, { jitterBufferTarget: 0, playoutDelayHint: 0 });
    if (publishes) this.#sender = new VideoSender(video.sender, track);
  }

  /** In a stream of its own: video in the same one would be held back to keep it in step.
   * @param {RTCPeerConnection} peer */
  #addAudio(peer) {
    const { role, audio } = this.options;
    if (role !== "publish" || !audio) return;
    peer.addTransceiver(audio, { direction: "sendrecv", streams: [new MediaStream()] });
  }

  /** @param {MediaStreamTrack} track */
  #tracked(track) {
    const stream = new MediaStream([track]);
    if (track.kind === "video") {
      this.#receiver = new VideoReceiver(stream, (output) => this.onoutput(output), this.options);
    }
    this.onstream(stream, track.kind === "video" ? "video" : "audio");
  }

  /** The offer holds every address, so wait for them, but not for a server that does not answer.
   * @param {RTCPeerConnection} peer @param {RTCIceServer[]} iceServers */
  #gathered(peer, iceServers) {
    const urls = iceServers.flatMap((server) => server.urls);
    const last = urls.some((url) => url.startsWith("turn")) ? "relay" : urls.length ? "srflx" : null;
    return new Promise((resolve) => {
      const timer = this.options.setTimeout(() => resolve(null), last ? GATHER_REMOTE_MS : GATHER_MS);
      peer.onicecandidate = ({ candidate }) => {
        if (candidate?.candidate && candidate.type !== last) return;
        this.options.clearTimeout(timer);
        resolve(null);
      };
    });
  }

  /** @returns {Promise<RTCIceServer[]>} */
  async #iceServers() {
    const { body } = await this.#ask("ice-servers");
    if (!Array.isArray(body)) throw new Hindrance(NO_WEBRTC);
    return body;
  }

  /** Offer until the hello is granted: one that is refused may be followed by another. @param {string} sdp
   * @returns {Promise<{sdp: string, welcome: any}>} */
  async #answered(sdp) {
    this.#timer = this.options.setTimeout(() => this.#end(1006, "the offer was not answered"), ANSWER_MS);
    for (;;) {
      const hello = this.#hello;
      try {
        const offer = JSON.stringify({ type: "offer", sdp, hello: JSON.parse(hello) });
        const { body, location } = await this.#ask("offer", offer);
        if (typeof body?.sdp !== "string") throw new Hindrance(NO_WEBRTC);
        this.#location = location;
        return body;
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        this.onmessage({ data: error.text });
        if (this.#hello === hello || this.#closed) throw error;
      }
    }
  }

  /** @param {"ice-servers" | "offer"} path @param {string} [offer] @returns {Promise<{body: any, location: string}>} */
  async #ask(path, offer) {
    const url = signallingUrl(this.url, path);
    const headers = this.#headers();
    if (offer) headers["Content-Type"] = "application/json";
    // An offer is never called back: the server may have granted it, and then has to be told that it is not wanted.
    const request = offer ? { method: "POST", body: offer } : { signal: this.#abort.signal };
    const response = await this.options.fetch(url, { ...request, headers });
    const body = await response.json().catch(() => null); // a page, where the server has no such path
    if (!response.ok) throw notOk(response.status, body);
    const location = response.headers.get("Location");
    return { body, location: location ? new URL(location, url).href : "" };
  }

  /** @returns {Record<string, string>} */
  #headers() {
    const { token } = this.options;
    return token ? { Authorization: `Bearer ${token}` } : {};
  }

  /** @param {unknown} error */
  #failed(error) {
    if (this.#closed) return;
    if (error instanceof Refusal) {
      // Whatever cannot be understood here is perhaps about WebRTC alone.
      const hindrance = error.close === 4400 ? { certain: true, told: true } : undefined;
      this.#end(error.close, error.message, hindrance);
    } else if (error instanceof Hindrance) this.#end(1006, error.message, { certain: true, told: false });
    else if (error instanceof DOMException) {
      this.#end(1006, `the browser refused: ${error.message}`, { certain: true, told: false });
    } else {
      // A page of another origin is kept from asking as if nobody were there.
      this.#end(1006, "the server cannot be asked for WebRTC", { certain: false, told: false });
    }
  }

  /** @param {number} code @param {string} reason @param {Closed["hindrance"]} [hindrance] */
  #end(code, reason, hindrance) {
    if (this.#closed) return;
    this.close();
    this.onclose({ code, reason, hindrance, resume: this.#welcome?.resume ?? undefined });
  }
}

/** @param {number} status @param {any} body */
function notOk(status, body) {
  if (body?.type === "error") return new Refusal(body.close ?? 4400, JSON.stringify(body), body.message);
  if (status === 404 || status === 405) return new Hindrance(NO_WEBRTC);
  const [code, close] = status === 401 ? ["unauthorised", 4401] : ["bad_answer", 1006];
  const message = `the server answered ${status}`;
  return new Refusal(close, JSON.stringify({ type: "error", code, message, retryable: close === 1006 }), message);
}
