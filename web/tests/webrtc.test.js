import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { connect, FLAG, KIND, NO_MEDIA, packFrame } from "../js/streamgen.js";
import { FakeClock, FakeSocket, sockets, WELCOME } from "./fakes.js";
import { calm, FakePeer, FakeSignalling, FakeTrack, peers, pretendBrowser, videos } from "./rtc-fakes.js";

let clock;
let server;
let heard;

beforeEach(() => {
  pretendBrowser();
  sockets.length = 0;
  clock = new FakeClock();
  server = new FakeSignalling();
  heard = { states: [], outputs: [], errors: [], transports: [], streams: [], welcomes: 0 };
});

function start(options = {}) {
  return connect("ws://test/ws", {
    ...clock,
    fetch: server.fetch,
    WebSocket: FakeSocket,
    RTCPeerConnection: FakePeer,
    random: () => 1,
    track: new FakeTrack(),
    onState: (state) => heard.states.push(state),
    onWelcome: () => (heard.welcomes += 1),
    onOutput: (output) => void heard.outputs.push(output),
    onError: (error) => heard.errors.push(error.code),
    onTransport: (kind, reason) => heard.transports.push([kind, reason]),
    onStream: (stream, kind) => heard.streams.push(kind),
    ...options,
  });
}

const peer = () => peers.at(-1);
const socket = () => sockets.at(-1);

async function open(options) {
  const stream = start(options);
  await calm();
  peer().channel.open();
  return stream;
}

test("the hello travels with the offer, and the stream is open with the channel", async () => {
  const stream = start({ session: "cam", settings: { seed: 3 }, token: "secret" });
  await calm();
  assert.deepEqual(server.asked.map(({ method, path }) => [method, path]), [
    ["GET", "/webrtc/ice-servers"],
    ["POST", "/webrtc/offer"],
  ]);
  const { headers, body } = server.asked[1];
  assert.equal(headers.Authorization, "Bearer secret");
  assert.equal(body.sdp, "v=0 offer");
  assert.deepEqual([body.hello.session, body.hello.settings], ["cam", { seed: 3 }]);
  assert.equal(peer().channel.label, "streamgen.v1");
  assert.deepEqual(heard.states, []);
  peer().channel.open();
  assert.deepEqual(heard.states, ["open"]);
  assert.equal(stream.session, "cam");
  assert.deepEqual([stream.transport, heard.transports], [{ kind: "webrtc", reason: "" }, [["webrtc", ""]]]);
  assert.equal(stream.peerConnection, peer());
  assert.equal(sockets.length, 0);
});

test("a secure address is asked over https", async () => {
  const urls = [];
  const fetch = (asked) => urls.push(asked) && new Promise(() => {});
  for (const url of ["ws://test/ws", "wss://test/base/ws"]) connect(url, { fetch, RTCPeerConnection: FakePeer, track: null });
  await calm();
  assert.deepEqual(urls, ["http://test/webrtc/ice-servers", "https://test/base/webrtc/ice-servers"]);
});

test("a publisher sends its track with motion before detail and receives without a jitter buffer", async () => {
  const track = new FakeTrack();
  await open({ track });
  const { direction, sender, receiver } = peer().video;
  assert.equal(direction, "sendrecv");
  assert.equal(sender.track, track);
  assert.equal(track.contentHint, "motion");
  assert.deepEqual([receiver.jitterBufferTarget, receiver.playoutDelayHint], [0, 0]);
});

test("a prompt stream sends nothing, and a viewer offers to receive alone", async () => {
  await open({ track: null });
  assert.deepEqual([peer().video.direction, peer().video.sender.track], ["sendrecv", null]);
  await open({ role: "view", track: undefined });
  assert.equal(peer().video.direction, "recvonly");
});

test("sound has a stream of its own", async () => {
  const sound = new FakeTrack("audio");
  await open({ audio: sound });
  const [video, audio] = peer().transceivers;
  assert.equal(audio.sender.track, sound);
  assert.notEqual(video.streams[0], audio.streams[0]);
  assert.deepEqual(heard.streams, ["video", "audio"]);
});

test("one codec can be asked for, with what repairs its losses", async () => {
  await open({ videoCodec: "h264" });
  assert.deepEqual(peer().video.codecs.map(({ mimeType }) => mimeType), ["video/H264", "video/rtx"]);
  await open();
  assert.equal(peer().video.codecs, undefined);
});

test("no more is sent than is of use", async () => {
  const track = new FakeTrack("video", { width: 1280, height: 720 });
  server.welcome = { ...WELCOME, settings: { max_fps: 20 }, format: { width: 320, height: 320, fit: "cover" } };
  const stream = await open({ track });
  await calm();
  const [encoding] = peer().video.sender.parameters.encodings;
  assert.deepEqual(encoding, { active: true, maxFramerate: 20, scaleResolutionDownBy: 2.25 });
  peer().channel.message({ type: "reformatted", format: { width: 320, height: 320, fit: "contain" } });
  peer().channel.message({ type: "updated", rev: 1, settings: { max_fps: 10 }, understood: null, styles: {} });
  stream.pause();
  await calm();
  const [changed] = peer().video.sender.parameters.encodings;
  assert.deepEqual(changed, { active: false, maxFramerate: 10, scaleResolutionDownBy: 4 });
  assert.equal(peer().video.sender.parameters.degradationPreference, "maintain-framerate");
});

test("a stream over WebRTC takes no frames", async () => {
  const stream = await open();
  assert.equal(stream.ready, false);
  assert.equal(stream.send({ data: new Uint8Array([1]), width: 2, height: 2 }), null);
});

test("another track is sent without another offer, and on later connections", async () => {
  const stream = await open();
  const other = new FakeTrack();
  await stream.replaceTrack(other);
  assert.equal(peer().video.sender.track, other);
  assert.equal(other.contentHint, "motion");
  assert.equal(server.all("POST").length, 1);
  peer().channel.onclose();
  clock.advance(500);
  await calm();
  assert.equal(peers.length, 2);
  assert.equal(peer().video.sender.track, other);
});

test("requests ride on the channel", async () => {
  const stream = await open();
  const answer = stream.update({ strength: 0.5 });
  const [{ ref, settings }] = peer().channel.texts("update");
  assert.deepEqual(settings, { strength: 0.5 });
  peer().channel.message({ type: "updated", rev: 1, settings, understood: null, styles: {}, ref });
  assert.equal((await answer).rev, 1);
});

test("a snapshot comes over the channel in parts", async () => {
  const stream = await open();
  const answer = stream.snapshot();
  const whole = packFrame({ kind: KIND.snapshot, codec: 3, width: 2, height: 2, seq: 5 }, new Uint8Array(50).fill(9));
  const [{ ref }] = peer().channel.texts("snapshot");
  peer().channel.message({ type: "snapshot_taken", seq: 5, width: 2, height: 2, bytes: whole.length, ref });
  peer().channel.message(whole.slice(0, 60).buffer);
  peer().channel.message(whole.slice(60).buffer);
  assert.equal((await answer).png.length, 50);
});

const facts = (rtp_timestamp, seq, more = {}) => ({
  type: "output",
  rtp_timestamp,
  seq,
  source_seq: seq + 10,
  settings_rev: 3,
  captured_us: 5_000_000,
  queue_us: 1,
  engine_us: 2,
  encode_us: 3,
  flags: 1,
  ...more,
});

test("a frame is what its RTP timestamp says it is", async () => {
  await open();
  for (const seq of [0, 1, 2]) peer().channel.message(facts(90_000 + seq, seq));
  videos[0].show(90_001);
  await calm();
  const [output] = heard.outputs;
  assert.deepEqual([output.seq, output.sourceSeq, output.settingsRev, output.capturedUs], [1, 11, 3, 5_000_000]);
  assert.deepEqual([output.queueUs, output.engineUs, output.encodeUs, output.flags], [1, 2, 3, 1]);
  assert.deepEqual([output.width, output.height, output.data, output.sentMs], [256, 256, null, null]);
  assert.equal(output.video, videos[0]);
  assert.deepEqual(peer().channel.texts("ack"), []);
});

test("a frame waits a moment for its facts", async () => {
  await open();
  videos[0].show(5);
  clock.advance(5);
  await calm();
  assert.equal(heard.outputs.length, 0);
  peer().channel.message(facts(5, 1));
  await calm();
  clock.advance(100);
  await calm();
  assert.deepEqual(heard.outputs.map(({ seq }) => seq), [1]);
});

test("a frame whose facts did not come is shown all the same", async () => {
  await open();
  videos[0].show(5);
  clock.advance(15);
  await calm();
  const [{ seq, engineUs, flags, video }] = heard.outputs;
  assert.deepEqual([seq, engineUs, flags], [null, null, 0]);
  assert.equal(video, videos[0]);
});

test("facts of frames that never come are forgotten", async () => {
  await open();
  for (let seq = 0; seq < 100; seq += 1) peer().channel.message(facts(seq, seq));
  videos[0].show(0);
  clock.advance(15);
  await calm();
  videos[0].show(99);
  await calm();
  assert.deepEqual(heard.outputs.map(({ seq }) => seq), [null, 99]);
});

test("a browser that does not say which frame it shows is taken to show the newest one", async () => {
  await open();
  for (const seq of [0, 1]) peer().channel.message(facts(90_000 + seq, seq));
  videos[0].show(undefined);
  await calm();
  assert.deepEqual(heard.outputs.map(({ seq }) => seq), [1]);
});

test("a page that is not painted goes by what the server sends", async () => {
  await open();
  globalThis.document.hidden = true;
  peer().channel.message(facts(1, 0));
  await calm();
  peer().channel.message(facts(2, 1));
  await calm();
  globalThis.document.hidden = false;
  videos[0].show(2);
  await calm();
  assert.deepEqual(heard.outputs.map(({ seq }) => seq), [0, 1]);
});

test("a picture twice as wide as the format has its alpha beside it", async () => {
  server.welcome = { ...WELCOME, settings: { alpha: true } };
  await open({ alpha: true });
  videos[0].show(1);
  clock.advance(15);
  await calm();
  videos[0].videoWidth = 512;
  videos[0].show(2);
  clock.advance(15);
  await calm();
  assert.deepEqual(heard.outputs.map(({ flags }) => flags), [0, FLAG.alpha]);
});

test("three seconds of silence end the connection, and WebRTC is tried again", async () => {
  const stream = await open();
  clock.advance(1000);
  const [{ id }] = peer().channel.texts("ping");
  clock.advance(30);
  peer().channel.message({ type: "pong", id });
  assert.equal(stream.roundTripMs, 30);
  clock.advance(2400);
  assert.equal(stream.state, "open");
  clock.advance(600);
  assert.equal(stream.state, "reconnecting");
  assert.equal(peers[0].closed, true);
  clock.advance(500);
  await calm();
  assert.equal(server.hellos[1].resume, "token-1");
  assert.equal(peers.length, 2);
});

test("the server's pings keep a connection alive and are answered", async () => {
  const stream = await open();
  for (let beat = 0; beat < 8; beat += 1) {
    peer().channel.message({ type: "ping", id: String(beat) });
    clock.advance(1000);
  }
  assert.equal(stream.state, "open");
  assert.equal(peer().channel.texts("pong").length, 8);
});

test("without media within 3 s the WebSocket takes the session over", async () => {
  const stream = start({ session: "cam" });
  await calm();
  clock.advance(2999);
  assert.equal(sockets.length, 0);
  clock.advance(1);
  assert.equal(sockets.length, 1);
  assert.equal(peers[0].closed, true);
  socket().accept();
  assert.equal(socket().sent[0].resume, "token-1");
  socket().message({ ...WELCOME, resumed: true });
  assert.deepEqual(heard.states, ["open"]);
  assert.deepEqual(heard.transports, [["websocket", NO_MEDIA]]);
  assert.deepEqual(stream.transport, { kind: "websocket", reason: NO_MEDIA });
  assert.deepEqual([heard.errors, heard.welcomes], [[], 1]);
});

test("an engine that is slow to its first frame is waited for", async () => {
  const stream = await open();
  for (let second = 0; second < 60; second += 1) {
    peer().channel.message({ type: "ping", id: "" });
    clock.advance(1000);
  }
  assert.deepEqual([stream.state, stream.transport.kind], ["open", "webrtc"]);
});

test("after a fallback it stays, until WebRTC is asked for again", async () => {
  const stream = start();
  await calm();
  clock.advance(3000);
  socket().accept();
  socket().message(WELCOME);
  socket().lose();
  clock.advance(500);
  assert.equal(sockets.length, 2);
  socket().accept();
  socket().message({ ...WELCOME, resume: "token-2", resumed: true });
  stream.useTransport("auto");
  assert.equal(socket().closedWith, 1000);
  assert.equal(stream.state, "connecting");
  await calm();
  assert.equal(server.hellos.at(-1).resume, "token-2");
  peer().channel.open();
  assert.deepEqual(heard.transports, [["websocket", NO_MEDIA], ["webrtc", ""]]);
  assert.equal(stream.state, "open");
});

test("a server without WebRTC is spoken to over the WebSocket at once", async () => {
  server.iceServers = null;
  const stream = start();
  await calm();
  socket().accept();
  socket().message(WELCOME);
  assert.deepEqual(stream.transport, { kind: "websocket", reason: "the server has no WebRTC" });
  assert.deepEqual([heard.errors, peers.length], [[], 0]);
});

test("a page that answers for a server that is not there is no server with WebRTC", async () => {
  server.fetch = async () => new Response("<!doctype html>");
  const stream = start();
  await calm();
  assert.equal(stream.transport.kind, "websocket");
});

test("a server that cannot be asked may be away: WebRTC is tried again unless the WebSocket is let in", async () => {
  server.down = true;
  const stream = start();
  await calm();
  socket().lose();
  assert.equal(stream.state, "reconnecting");
  clock.advance(500);
  await calm();
  assert.deepEqual([server.asked.length, sockets.length], [2, 2]);
  socket().accept();
  socket().message(WELCOME);
  socket().lose();
  clock.advance(500);
  await calm();
  assert.deepEqual([server.asked.length, sockets.length], [2, 3]);
});

test("WebRTC that was asked for is not replaced: it is an error, and tried again", async () => {
  const stream = start({ transport: "webrtc" });
  await calm();
  clock.advance(3000);
  assert.deepEqual([heard.errors, heard.states], [["webrtc_unavailable"], ["reconnecting"]]);
  clock.advance(500);
  await calm();
  assert.deepEqual([peers.length, sockets.length], [2, 0]);
  peer().channel.open();
  assert.deepEqual(stream.transport, { kind: "webrtc", reason: "chosen" });
});

test("WebRTC that was asked for where there is none stays an error", async () => {
  start({ transport: "webrtc", RTCPeerConnection: undefined });
  await calm();
  assert.deepEqual([heard.errors, heard.states, sockets.length], [["webrtc_unavailable"], ["reconnecting"], 0]);
});

test("a WebSocket that was asked for is all there is", async () => {
  const stream = start({ transport: "websocket" });
  await calm();
  assert.deepEqual([stream.transport, server.asked], [{ kind: "websocket", reason: "chosen" }, []]);
});

test("a publisher of single frames and a program without WebRTC use the WebSocket", () => {
  assert.equal(start({ track: undefined }).transport.reason, "frames are sent one by one");
  assert.equal(start({ RTCPeerConnection: undefined }).transport.reason, "this browser has no WebRTC");
  assert.equal(start({ role: "view", track: undefined }).transport.kind, "webrtc");
});

test("a refused hello is an error and ends with the code that a WebSocket would have", async () => {
  const body = { type: "error", code: "no_such_session", message: "no", retryable: true, close: 4404 };
  server.refusals = [{ status: 404, body }];
  const stream = start({ role: "view", session: "cam" });
  await calm();
  assert.deepEqual([heard.errors, stream.state], [["no_such_session"], "reconnecting"]);
  server.refusals = [{ status: 409, body: { ...body, code: "publisher_exists", close: 4409 } }];
  clock.advance(500);
  await calm();
  assert.equal(stream.state, "closed");
  assert.equal(sockets.length, 0);
});

test("a token that came too late opens the session anew with the same offer", async () => {
  const body = { type: "error", code: "bad_resume_token", message: "too late", retryable: false, close: 4400 };
  server.refusals = [{ status: 400, body }];
  const stream = start({ session: "cam", resume: "old" });
  await calm();
  assert.deepEqual(server.hellos.map(({ resume }) => resume), ["old", undefined]);
  peer().channel.open();
  assert.deepEqual([stream.state, heard.errors, peers.length], ["open", [], 1]);
});

test("an offer that the server cannot read is made over the WebSocket instead", async () => {
  const body = { type: "error", code: "bad_sdp", message: "no", retryable: false, close: 4400 };
  server.refusals = [{ status: 400, body }];
  const stream = start();
  await calm();
  assert.deepEqual([heard.errors, stream.transport], [["bad_sdp"], { kind: "websocket", reason: "no" }]);
});

test("an overloaded proxy is waited for", async () => {
  server.refusals = [{ status: 502, body: null }];
  const stream = start();
  await calm();
  assert.deepEqual([heard.errors, stream.state, sockets.length], [["bad_answer"], "reconnecting", 0]);
});

test("how the server says goodbye decides whether it is final", async () => {
  const stream = await open();
  peer().channel.message({ type: "bye", reason: "taken_over", code: 4409 });
  peer().channel.onclose();
  assert.equal(stream.state, "closed");
  assert.equal(server.all("DELETE").length, 0);
});

test("a connection that is closed before its offer is answered is deleted once it is", async () => {
  let answer = () => {};
  const fetch = async (url, init) => {
    const answered = server.fetch(url, init);
    if (init.method === "POST") await new Promise((resolve) => (answer = resolve));
    return answered;
  };
  const stream = start({ fetch });
  await calm();
  stream.close();
  assert.equal(server.all("DELETE").length, 0);
  answer();
  await calm();
  assert.deepEqual(server.all("DELETE").map(({ path }) => path), ["/webrtc/abc"]);
});

test("close says bye and deletes the connection, even when the page goes", async () => {
  const stream = await open({ token: "secret" });
  stream.close();
  assert.equal(peer().channel.texts("bye").length, 1);
  assert.equal(peer().closed, true);
  const [{ path, keepalive, headers }] = server.all("DELETE");
  assert.deepEqual([path, keepalive, headers.Authorization], ["/webrtc/abc", true, "Bearer secret"]);
  assert.deepEqual(heard.states, ["open", "closed"]);
});

test("a stream that is closed while it connects leaves nothing behind", async () => {
  const stream = start();
  stream.close();
  await calm();
  clock.advance(60_000);
  await calm();
  assert.deepEqual([peers.length, sockets.length, heard.states], [0, 0, ["closed"]]);
});

test("addresses are waited for, but not for long", async () => {
  FakePeer.gathers = false;
  start();
  await calm();
  peer().onicecandidate({ candidate: { candidate: "candidate:1", type: "host" } });
  clock.advance(499);
  await calm();
  assert.equal(server.all("POST").length, 0);
  clock.advance(1);
  await calm();
  assert.equal(server.all("POST").length, 1);
});

test("with a TURN server the relayed address is waited for", async () => {
  FakePeer.gathers = false;
  server.iceServers = [{ urls: ["stun:a"] }, { urls: ["turn:b"], username: "u", credential: "c" }];
  start();
  await calm();
  assert.deepEqual(peer().configuration.iceServers, server.iceServers);
  clock.advance(1500);
  for (const type of ["host", "srflx"]) peer().onicecandidate({ candidate: { candidate: "candidate:1", type } });
  await calm();
  assert.equal(server.all("POST").length, 0);
  peer().onicecandidate({ candidate: { candidate: "candidate:2", type: "relay" } });
  await calm();
  assert.equal(server.all("POST").length, 1);
});
