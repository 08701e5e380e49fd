"""What the compatibility suite has the Python SDK do; ``client.mjs`` does the same. Prints lines of JSON.

``client.py live|replay URL FOLDER``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import streamgen


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def refusals(stream: streamgen.SyncStream, changes: list[dict[str, Any]]) -> list[list[str | None]]:
    """Kind, code and field of what each change is refused with."""
    refused: list[list[str | None]] = []
    for change in changes:
        try:
            stream.update(**change)
        except streamgen.StreamgenError as error:
            refused.append([type(error).__name__, error.code, error.field])
    return refused


def live(url: str, folder: Path) -> None:
    task = json.loads((folder / "task.json").read_text())
    width, height = task["size"]
    frame = np.frombuffer((folder / "photo.rgb").read_bytes(), np.uint8).reshape(height, width, 3)
    states: list[str] = []
    with streamgen.connect_sync(
        url,
        session="cam",
        width=width,
        height=height,
        codec="raw",
        token=task["token"],
        send_quality=95,
        backoff_s=lambda attempt: 0.0,
        on_state=lambda state, why: states.append(state),
        prompt="ink",
    ) as stream:
        welcome = stream.welcome
        say(session=stream.session, role=welcome.role, model=welcome.model, prompt=stream.settings.prompt)
        stream.send(frame, captured_us=1_780_000_000_000_001)
        output = next(stream)
        (folder / "output.rgb").write_bytes(output.pixels.tobytes())
        say(captured_us=output.captured_us, rev=output.settings_rev, queued_ms=output.timing.queued_ms)
        say(refused=refusals(stream, task["refused"]))
        updated = stream.update(prompt="oil", steps=2)
        say(rev=updated.rev, prompt=updated.settings.prompt, steps=stream.settings.steps, styles=updated.styles)
        picture = stream.snapshot()
        (folder / "snapshot.png").write_bytes(picture.png)
        say(width=picture.width, height=picture.height)
        stats = stream.stats()
        say(frames_in=stats.frames_in, frames_out=stats.frames_out, drops=stats.drops)
        say(format=stream.reformat(width=320).model_dump())
        stream.pause()
        say(paused=stream.paused)
        stream.resume()
        say(paused=stream.paused)
        say(cut=True)  # the suite ends the connection now
        while not stream.statistics.reconnections:
            stream.receive(timeout_s=0.01)
        say(resumed=stream.welcome.resumed, prompt=stream.settings.prompt, width=stream.format.width)
        figures = stream.statistics
        say(sent=figures.sent, replaced=figures.replaced, received=figures.received, again=figures.reconnections)
    say(states=states)


def replay(url: str, folder: Path) -> None:
    """A server says everything there is to say, and then answers."""
    with streamgen.connect_sync(url, on_warning=lambda warning: None, on_error=lambda error: None) as stream:
        stats = stream.stats().model_dump(mode="json")
        say(stats={name: value for name, value in stats.items() if name not in ("type", "ref")})
        say(prompt=stream.settings.prompt, model=stream.welcome.model, styles=list(stream.welcome.styles))


if __name__ == "__main__":
    {"live": live, "replay": replay}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
