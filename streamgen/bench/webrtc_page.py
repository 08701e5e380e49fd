"""What runs in a browser's page to measure it: a canvas that carries numbers as a source, and the numbers read back."""

from __future__ import annotations

__all__ = ["CLICK", "GLASS_TO_GLASS", "PLAYOUT"]

_MARKS = """
const BITS = 12;
const MASK = (1 << BITS) - 1;
class Marked {
  constructor(side, fps) {
    this.side = side; this.number = 0; this.drawn = new Map();
    this.canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.draw();
    this.track = this.canvas.captureStream(fps).getVideoTracks()[0];
    this.timer = setInterval(() => this.draw(), 1000 / fps);
  }
  draw() {
    const { side, context } = this;
    this.number = (this.number + 1) & MASK;
    const turn = performance.now() / 1000;
    for (let band = 0; band < 8; band += 1) {
      context.fillStyle = `hsl(${(band * 45 + turn * 60) % 360} 60% 50%)`;
      context.fillRect(0, (side * band) / 8, side, side / 8 + 1);
    }
    context.fillStyle = "#eda";
    context.beginPath();
    context.arc(side * (0.5 + 0.3 * Math.cos(turn)), side * (0.6 + 0.2 * Math.sin(turn)), side / 8, 0, 7);
    context.fill();
    for (let bit = 0; bit < BITS; bit += 1) {
      const on = (this.number >> bit) & 1;
      for (const line of [0, 1]) {
        context.fillStyle = on === line ? "#000" : "#fff";
        context.fillRect((side * bit) / BITS, (line * side) / 8, side / BITS + 1, side / 8);
      }
    }
    this.drawn.set(this.number, performance.now());
  }
  stop() { clearInterval(this.timer); this.track.stop(); }
}
const reading = new OffscreenCanvas(1, 1);
const pen = reading.getContext("2d", { willReadFrequently: true });
/** The number in a picture, or null. */
function read(source, width, height) {
  reading.width = width; reading.height = Math.ceil(height / 4);
  pen.drawImage(source, 0, 0, width, height / 4, 0, 0, width, height / 4);
  const { data } = pen.getImageData(0, 0, width, reading.height);
  const light = (x, y) => data[4 * (Math.floor(y) * width + Math.floor(x)) + 1];
  let number = 0;
  for (let bit = 0; bit < BITS; bit += 1) {
    const x = ((bit + 0.5) * width) / BITS;
    const apart = light(x, height / 16) - light(x, (3 * height) / 16);
    if (Math.abs(apart) < 60) return null;
    if (apart > 0) number |= 1 << bit;
  }
  return number;
}
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
/** Counters of video in and out. */
async function counters(peer) {
  const rows = [...(await peer.getStats()).values()].filter((row) => row.kind === "video");
  return Object.fromEntries(rows.filter((row) => /bound-rtp$/.test(row.type)).map((row) => [row.type, row]));
}
"""

GLASS_TO_GLASS = (
    "async ({ side, fps, seconds, warm, settings, codec }) => {"
    + _MARKS
    + """
  const { connect } = await import("/js/streamgen.js");
  const source = new Marked(side, fps);
  const seen = [];
  let unreadable = 0, newest = -1;
  const took = (output) => {
    if (!output.video) throw new Error("the outputs came over a WebSocket");
    const number = read(output.video, output.width, output.height);
    const now = performance.now();
    if (number === null || !source.drawn.has(number)) { unreadable += 1; return; }
    if (number === newest) return;
    newest = number;
    const { queueUs, engineUs, encodeUs } = output;
    seen.push({ at: now, latency: now - source.drawn.get(number), queueUs, engineUs, encodeUs });
  };
  const errors = [];
  const stream = connect(`ws://${location.host}/ws`, {
    transport: "webrtc", track: source.track, format: { width: side, height: side }, videoCodec: codec,
    settings: { ...settings, max_fps: Math.max(fps, 30) }, onOutput: took, onError: (error) => errors.push(`${error}`),
  });
  const limit = performance.now() + 30_000;
  while (seen.length < 20) {
    if (performance.now() > limit) throw new Error(`no outputs: ${errors} ${unreadable} unreadable`);
    await sleep(50);
  }
  await sleep(warm * 1000);
  const began = performance.now();
  const before = await counters(stream.peerConnection);
  await sleep(seconds * 1000);
  const after = await counters(stream.peerConnection);
  const { backend } = await stream.stats();
  stream.close();
  source.stop();
  return { seen: seen.filter(({ at }) => at >= began), unreadable, before, after, errors, backend };
}"""
)
"""Draw, send, stylise, receive, paint, read: with streamgen.js from end to end."""

CLICK = """
async ({ settings, side }) => {
  const { connect } = await import("/js/streamgen.js");
  const button = document.body.appendChild(document.createElement("button"));
  button.id = "bench";
  button.textContent = "Camera";
  button.style = "position: fixed; inset: 0; z-index: 9";
  window.benched = new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error("no picture within 20 s")), 20_000);
    button.addEventListener("click", async () => {
      const clicked = performance.now();
      const since = () => performance.now() - clicked;
      const media = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
      const times = { camera: since() };
      const stream = connect(`ws://${location.host}/ws`, {
        transport: "webrtc", track: media.getVideoTracks()[0], format: { width: side, height: side }, settings,
        onWelcome: () => (times.welcome = since()),
        onError: (error) => reject(error),
        onOutput: (output) => {
          if (output.flags & 2) { times.warmUp ??= since(); return; } // made before the fast model was ready
          times.picture = since();
          times.transport = stream.transport.kind;
          resolve(times);
          stream.close();
        },
      });
    });
  });
}"""
"""Put a button there; ``window.benched`` resolves to what happened when after the click."""

PLAYOUT = (
    "async ({ side, fps, seconds, target }) => {"
    + _MARKS
    + """
  const source = new Marked(side, fps);
  const peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
  const channel = peer.createDataChannel("streamgen.v1");
  channel.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "ping") channel.send(JSON.stringify({ type: "pong", id: message.id }));
  };
  const { receiver } = peer.addTransceiver(source.track, { direction: "sendrecv", streams: [new MediaStream()] });
  if (target !== null) receiver.jitterBufferTarget = target;
  const video = Object.assign(document.createElement("video"), { muted: true, autoplay: true, playsInline: true });
  video.srcObject = new MediaStream([receiver.track]);
  const seen = [];
  const watch = () => video.requestVideoFrameCallback(() => {
    const number = read(video, video.videoWidth, video.videoHeight);
    if (number !== null && source.drawn.has(number)) {
      seen.push({ at: performance.now(), latency: performance.now() - source.drawn.get(number) });
    }
    watch();
  });
  watch();
  const gathered = new Promise((resolve) => {
    peer.onicecandidate = ({ candidate }) => candidate || resolve();
  });
  await peer.setLocalDescription();
  await Promise.race([gathered, sleep(1000)]);
  const hello = { type: "hello", format: { width: side, height: side }, settings: { max_fps: 60 } };
  const response = await fetch("/webrtc/offer", {
    method: "POST", headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ type: "offer", sdp: peer.localDescription.sdp, hello }),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.message);
  await peer.setRemoteDescription({ type: "answer", sdp: answer.sdp });
  video.play();
  const limit = performance.now() + 15_000;
  while (seen.length < 30 && performance.now() < limit) await sleep(50);
  const began = performance.now();
  const before = await counters(peer);
  await sleep(seconds * 1000);
  const after = await counters(peer);
  peer.close();
  source.stop();
  return {
    seen: seen.filter(({ at }) => at >= began), before, after,
    extension: answer.sdp.includes("playout-delay"),
  };
}"""
)
"""The same with a connection made by hand, as streamgen.js sets the jitter buffer's target itself."""
