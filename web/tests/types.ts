// Never run: `npm run types` checks that streamgen.d.ts says of js/streamgen.js what is so, no less and no more.

import * as made from "../js/streamgen.js";
import * as told from "../streamgen.js";

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never;

const exported: Same<keyof typeof made, keyof typeof told> = true;
const members: Same<keyof made.Stream, keyof told.Stream> = true;
const { Stream: _made, connect, sendVideo, ...rest } = made;
const declared: Omit<typeof told, "Stream" | "connect" | "sendVideo"> = rest;
const connects: (...given: Parameters<typeof told.connect>) => told.Stream = connect;
const readOnly: told.Stream = {} as made.Stream;
const sends: (stream: made.Stream, ...rest: [HTMLVideoElement, told.VideoOptions?]) => () => void = sendVideo;

export { connects, declared, exported, members, readOnly, sends };
