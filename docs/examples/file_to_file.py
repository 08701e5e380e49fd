"""A video file, stylised by a server frame by frame: `pip install . opencv-python` in a clone, then
`python docs/examples/file_to_file.py in.mp4 out.mp4 "oil painting"`.

A live stream drops what comes too fast, which a file must not: so the next frame goes when the last one is back. Where
the model is on this machine, `streamgen render` does it faster, and keeps the sound.
"""

import sys

import cv2
import numpy as np

import streamgen

LOST_S = 5.0


def stylise(stream: streamgen.SyncStream, frame: np.ndarray) -> np.ndarray:
    """The output of this frame. One that got lost, with its connection perhaps, is sent again."""
    while True:
        number = stream.send(frame)
        while (output := stream.receive(timeout_s=LOST_S)) is not None:
            if output.seq >= number:
                return output.pixels


def run(url: str, source: str, target: str, prompt: str) -> int:
    """How many frames were written."""
    reader, count = cv2.VideoCapture(source), 0
    fps = reader.get(cv2.CAP_PROP_FPS)
    with streamgen.connect_sync(url, prompt=prompt, max_fps=60, quality=95) as stream:
        size = (stream.format.width, stream.format.height)
        writer = cv2.VideoWriter(target, cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
        while (taken := reader.read())[0]:
            output = stylise(stream, cv2.cvtColor(taken[1], cv2.COLOR_BGR2RGB))
            writer.write(cv2.cvtColor(output, cv2.COLOR_RGB2BGR))
            count += 1
        writer.release()
    return count


if __name__ == "__main__":
    print(run("ws://127.0.0.1:8188/ws", *sys.argv[1:4]), "frames")
