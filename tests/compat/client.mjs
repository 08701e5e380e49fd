// What the compatibility suite has the JavaScript SDK do; client.py does the same. Prints lines of JSON.
// `node client.mjs live|replay|away URL FOLDER [PATH_OF_WS]`; without the package ws node's own WebSocket is used.

import { readFile, writeFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

import { connect, StreamgenError } from "../../web/js/streamgen.js";

const [mode, url, folder, ws] = process.argv.slice(2);
const WebSocket = ws ? (await import(pathToFileURL(ws).href)).default : globalThis.WebSocket;
const say = (facts) => console.log(JSON.stringify(facts));

/** A promise of the next call. */
function next() {
  const made = {};
  made.promise = new Promise((resolve) => (made.resolve = resolve));
  return made;
}

/** Kind, code and field of what each change is refused with. */
async function refusals(stream, changes) {
  const refused = [];
  for (const change of changes) {
    await stream.update(change).catch((error) => {
      if (!(error instanceof StreamgenError)) throw error;
      refused.push([error.name, error.code, error.field]);
    });
  }
  return refused;
}

async function live() {
  const task = JSON.parse(await readFile(`${folder}/task.json`, "utf8"));
  const [width, height] = task.size;
  const [output, states] = [next(), []];
  let welcomed = next();
  const stream = connect(url, {
    WebSocket,
    session: "cam",
    format: { width, height },
    codec: "raw",
    token: task.token,
    random: () => 0,
    onState: (state) => states.push(state),
    settings: { prompt: "ink" },
    onWelcome: (welcome) => welcomed.resolve(welcome),
    onOutput: (made) => output.resolve(made),
    onError: () => {},
  });
  const welcome = await welcomed.promise;
  say({ session: stream.session, role: welcome.role, model: welcome.model, prompt: stream.settings.prompt });
  stream.send({ data: await readFile(`${folder}/photo.jpg`), width, height, capturedUs: 1_780_000_000_000_001 });
  const { data, capturedUs, settingsRev, queueUs } = await output.promise;
  await writeFile(`${folder}/output.rgb`, data);
  say({ captured_us: capturedUs, rev: settingsRev, queued_ms: queueUs / 1000 });
  say({ refused: await refusals(stream, task.refused) });
  const updated = await stream.update({ prompt: "oil", steps: 2 });
  say({ rev: updated.rev, prompt: updated.settings.prompt, steps: stream.settings.steps, styles: updated.styles });
  const picture = await stream.snapshot();
  await writeFile(`${folder}/snapshot.png`, picture.png);
  say({ width: picture.width, height: picture.height });
  const stats = await stream.stats();
  say({ frames_in: stats.frames_in, frames_out: stats.frames_out, drops: stats.drops });
  say({ format: (await stream.reformat({ width: 320 })).format });
  await stream.pause();
  say({ paused: stream.paused });
  await stream.resume();
  say({ paused: stream.paused });
  welcomed = next();
  say({ cut: true }); // the suite ends the connection now
  await welcomed.promise;
  say({ resumed: stream.welcome.resumed, prompt: stream.settings.prompt, width: stream.format.width });
  const { sent, replaced, received, reconnections } = stream.statistics;
  say({ sent, replaced, received, again: reconnections });
  stream.close();
  say({ states });
}

/** A server says everything there is to say, and then answers. */
async function replay() {
  const welcomed = next();
  const stream = connect(url, { WebSocket, onWelcome: welcomed.resolve, onWarning: () => {}, onError: () => {} });
  await welcomed.promise;
  const { type: _type, ref: _ref, ...stats } = await stream.stats();
  say({ stats });
  say({ prompt: stream.settings.prompt, model: stream.welcome.model, styles: stream.welcome.styles });
  stream.close();
}

/** A server is not there: a stream tries twice. */
async function away() {
  connect(url, { WebSocket, random: () => 0, retries: 1, onState: (state, { error }) => say({ state, code: error?.code }) });
}

await { live, replay, away }[mode]();
