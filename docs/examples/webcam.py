"""The webcam, stylised, in a window: `pip install . opencv-python` in a clone, then `python docs/examples/webcam.py`.

Sending and receiving are two tasks, so that neither waits for the other: the camera sets the pace of one, the server
the pace of the other. Keys: 1 to 3 choose a prompt, s saves a snapshot, q quits.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import streamgen

PROMPTS = {"1": "pencil sketch", "2": "comic", "3": "oil painting"}


async def send_camera(stream: streamgen.Stream, camera: Any) -> None:
    while True:
        # Reading blocks until the camera has a picture, hence the thread.
        taken, picture = await asyncio.to_thread(camera.read)
        if not taken:
            return
        await stream.send(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), captured_us=time.time_ns() // 1000)


async def show_outputs(stream: streamgen.Stream, show: Callable[[np.ndarray], str]) -> None:
    async for output in stream:
        late_ms = (time.time_ns() // 1000 - output.captured_us) / 1000
        picture = cv2.cvtColor(output.pixels, cv2.COLOR_RGB2BGR)
        cv2.putText(picture, f"{late_ms:.0f} ms", (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255))
        key = show(picture)
        if key == "q":
            return
        if key == "s":
            Path("snapshot.png").write_bytes((await stream.snapshot()).png)
        if key in PROMPTS:
            await stream.update(prompt=PROMPTS[key])


async def run(url: str, camera: Any, show: Callable[[np.ndarray], str]) -> None:
    async with streamgen.connect(url, prompt=PROMPTS["1"], width=512, height=384) as stream:
        print(f"an overlay can view the session {stream.session!r}")
        sending = asyncio.create_task(send_camera(stream, camera))
        try:
            await show_outputs(stream, show)
        finally:
            sending.cancel()


def window(picture: np.ndarray) -> str:
    cv2.imshow("streamgen", picture)
    return chr(cv2.waitKey(1) & 0xFF)


if __name__ == "__main__":
    asyncio.run(run("ws://127.0.0.1:8188/ws", cv2.VideoCapture(0), window))
