"""The webcam, stylised, in a window, in one plain loop: `pip install . opencv-python` in a clone, then
`python docs/examples/opencv_loop.py`.

The stream sends and receives on a thread of its own, so the loop never waits for the server: it shows the newest output
that came. `webcam.py` is the same with asyncio. Keys: 1 to 3 choose a prompt, q quits.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

import streamgen

PROMPTS = {"1": "pencil sketch", "2": "comic", "3": "oil painting"}


def run(url: str, camera: Any, show: Callable[[np.ndarray], str]) -> None:
    shown, key = None, ""
    with streamgen.connect_sync(url, prompt=PROMPTS["1"], width=512, height=384) as stream:
        while key != "q":
            taken, picture = camera.read()
            if not taken:
                return
            stream.send(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
            output = stream.receive(timeout_s=0)
            if output is not None:
                shown = cv2.cvtColor(output.pixels, cv2.COLOR_RGB2BGR)
            key = show(picture if shown is None else shown)
            if key in PROMPTS:
                stream.update(prompt=PROMPTS[key])


def window(picture: np.ndarray) -> str:
    cv2.imshow("streamgen", picture)
    return chr(cv2.waitKey(1) & 0xFF)


if __name__ == "__main__":
    run("ws://127.0.0.1:8188/ws", cv2.VideoCapture(0), window)
