// Stand-ins for the tests: a WebSocket that records, a clock that moves when told.

/** Every FakeSocket made, oldest first; a test starts with `reset()`. */
export const sockets = [];

export class FakeSocket {
  constructor(url, protocol) {
    Object.assign(this, { url, protocol, sent: [], closedWith: null });
    sockets.push(this);
  }

  send(data) {
    this.sent.push(typeof data === "string" ? JSON.parse(data) : data);
  }

  close(code) {
    this.closedWith = code ?? 1005;
  }

  accept() {
    this.onopen();
  }

  message(data) {
    this.onmessage({ data: typeof data === "object" && !(data instanceof ArrayBuffer) ? JSON.stringify(data) : data });
  }

  lose(code = 1006, reason = "") {
    this.onclose({ code, reason });
  }

  get frames() {
    return this.sent.filter((data) => data instanceof Uint8Array);
  }

  texts(type) {
    return this.sent.filter((data) => data.type === type);
  }
}

export class FakeClock {
  nowMs = 1_780_000_000_000;
  timers = [];

  setTimeout = (run, delayMs) => {
    const timer = { run, atMs: this.nowMs + delayMs };
    this.timers.push(timer);
    return timer;
  };

  clearTimeout = (timer) => {
    this.timers = this.timers.filter((other) => other !== timer);
  };

  now = () => this.nowMs;

  advance(ms) {
    const untilMs = this.nowMs + ms;
    for (;;) {
      const [next] = this.timers.filter(({ atMs }) => atMs <= untilMs).sort((a, b) => a.atMs - b.atMs);
      if (!next) break;
      this.clearTimeout(next);
      this.nowMs = next.atMs;
      next.run();
    }
    this.nowMs = untilMs;
  }
}

export const WELCOME = Object.freeze({
  type: "welcome",
  protocol: "streamgen.v1",
  session: "cam",
  role: "publish",
  resume: "token-1",
  resumed: false,
  model: "tiny",
  styles: ["pencil", "comic"],
  unused: ["guidance"],
  loras: {},
  reference: false,
  models: ["tiny", "other"],
  format: { width: 256, height: 256, fit: "cover", upscale: 1 },
  settings: { prompt: "", prompts_blend: [], strength: 1, seed: 0 },
  rev: 0,
  limits: { max_message_bytes: 2_097_152, max_pixels: 4_000_000, credits: 2, resume_seconds: 30 },
  ref: null,
});

/** Let promises settle. */
export const settled = () => new Promise((resolve) => setImmediate(resolve));
