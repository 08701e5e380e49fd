// A React component, the camera stylised: <Stylised url="ws://127.0.0.1:8188/ws" prompt="pencil sketch" />
// `npm install react react-dom ./streamgen-0.1.0.tgz`; the page has to be let in by `serve --allow-origin`, unless it
// comes from localhost.

import { useEffect, useRef, useState } from "react";
import { connect, openCamera, paintTo, sendVideo, type State, type Stream } from "streamgen";

export function Stylised({ url, prompt }: { url: string; prompt: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const stream = useRef<Stream | null>(null);
  const wanted = useRef(prompt);
  const [state, setState] = useState<State>("connecting");
  const [problem, setProblem] = useState("");

  useEffect(() => {
    let over = false;
    let end = () => {};
    const start = async () => {
      const camera = await openCamera();
      if (over || !canvas.current) return camera.close();
      const opened = connect(url, {
        track: camera.track, // over WebRTC
        settings: { prompt: wanted.current },
        onOutput: paintTo(canvas.current),
        onState: setState,
        onError: ({ message }) => setProblem(message),
      });
      const stop = sendVideo(opened, camera.video); // over a WebSocket
      stream.current = opened;
      end = () => {
        stop();
        opened.close();
        camera.close();
        stream.current = null;
      };
    };
    start().catch(({ message }) => setProblem(message));
    return () => {
      over = true;
      end();
    };
  }, [url]);

  useEffect(() => {
    wanted.current = prompt;
    stream.current?.update({ prompt }).catch(() => {}); // onError tells of it
  }, [prompt]);

  return (
    <figure>
      <canvas ref={canvas} />
      <figcaption>{problem || state}</figcaption>
    </figure>
  );
}
