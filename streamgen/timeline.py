"""The timeline of a recorded session: what the engine was told and given, in order, one JSON object a line.

A recording is a timeline, ``NAME.jsonl``, beside the frames that it speaks of, ``NAME.mkv``. Numbers keep every bit on
their way through JSON, so what is computed again from a timeline is computed with the very same clock.
"""

from __future__ import annotations

import base64
import zlib
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from streamgen.errors import MediaError
from streamgen.frames import Pixels
from streamgen.settings import FrameFormat, StreamSettings

__all__ = [
    "VERSION",
    "Began",
    "Computed",
    "Ended",
    "Event",
    "Given",
    "Header",
    "Lost",
    "ModelIdentity",
    "ModelInForce",
    "ReferenceInForce",
    "ReferencePicture",
    "Segment",
    "SettingsInForce",
    "SizeInForce",
    "StylesChanged",
    "parse_event",
    "write_event",
]

VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelIdentity(_Part):
    """The model that computed, closely enough to know it again.

    Args:
        spec: the fields of its ``ModelSpec``.
        backend: it ran in.
        dtype: precision that it ran in.
        threads: compute threads, which split sums differently.
        weights: digest of its networks' weights.
        styles: digest of the styles that users made; empty where there were none.
        streamgen: version.
        torch: version.
    """

    spec: dict[str, Any]
    backend: str
    dtype: str
    threads: int
    weights: str
    styles: str
    streamgen: str
    torch: str


class ReferencePicture(_Part):
    """uint8 [height, width, 3], deflated, in base64."""

    width: int = Field(ge=1, le=4096)
    height: int = Field(ge=1, le=4096)
    data: str

    @classmethod
    def of(cls, pixels: Pixels | None) -> Self | None:
        """The picture as it is written down; None for none."""
        if pixels is None:
            return None
        data = base64.b64encode(zlib.compress(pixels.tobytes(), 1)).decode()
        return cls(width=pixels.shape[1], height=pixels.shape[0], data=data)

    def pixels(self) -> Pixels:
        """The picture.

        Raises:
            MediaError: ``recording_corrupt``.
        """
        shape = self.height, self.width, 3
        try:
            raw = zlib.decompressobj().decompress(base64.b64decode(self.data), self.height * self.width * 3)
            return np.frombuffer(raw, np.uint8).reshape(shape).copy()
        except (ValueError, zlib.error):
            fact = "a reference picture of the recording is broken"
            raise MediaError("recording_corrupt", fact, field="recording") from None


class Header(_Part):
    """The first line."""

    event: Literal["recording"] = "recording"
    version: Literal[1] = 1
    session: str
    started: str


class Began(_Part):
    """The engine begins here as if this frame were the session's first: nothing is left of earlier ones.

    Args:
        since_s: the clock when the seed began to travel.
        rev: of the settings.
    """

    event: Literal["began"] = "began"
    since_s: float
    rev: int
    settings: StreamSettings
    format: FrameFormat
    reference: ReferencePicture | None
    model: ModelIdentity


class SettingsInForce(_Part):
    """Settings for the frames from here on."""

    event: Literal["settings"] = "settings"
    at_s: float
    rev: int
    settings: StreamSettings


class SizeInForce(_Part):
    """A format for the frames from here on."""

    event: Literal["format"] = "format"
    format: FrameFormat


class ReferenceInForce(_Part):
    """A reference picture for the frames from here on."""

    event: Literal["reference"] = "reference"
    reference: ReferencePicture | None


class ModelInForce(_Part):
    """Another model for the frames from here on."""

    event: Literal["model"] = "model"
    model: ModelIdentity


class StylesChanged(_Part):
    """The model knows other styles from here on; the prompt begins to fade to what it means now."""

    event: Literal["styles"] = "styles"
    at_s: float
    styles: str


class Segment(_Part):
    """The frames from here on are in this file, beside the timeline: those of one size are."""

    event: Literal["video"] = "video"
    file: str = Field(pattern=r"^[A-Za-z0-9_.-]+\.mkv$")
    width: int
    height: int


class Given(_Part):
    """The next frame of the video was handed to the engine, which takes the newest and never sees the others.

    Args:
        seq: as in ``Frame``, as is all else.
    """

    event: Literal["frame"] = "frame"
    seq: int
    captured_us: int
    received_s: float


class Lost(_Part):
    """Frames handed to the engine that are not in the video, because the disk was too slow."""

    event: Literal["lost"] = "lost"
    count: int


class Computed(_Part):
    """The engine took a frame.

    Args:
        seq: of the frame, as are ``captured_us`` and ``received_s``.
        at_s: the clock of the step.
        outcome: ``made`` a picture; ``pipelined``, no picture is done yet; ``similar`` to the last one, so it was left
            out; ``failed``.
        together: how many sessions' frames the step had.
        warm_up: the network of this shape was not ready, and the eager one stood in.
        dreamed: the frame was made by the engine itself, of the prompt.
    """

    event: Literal["computed"] = "computed"
    seq: int
    captured_us: int
    received_s: float
    at_s: float
    outcome: Literal["made", "pipelined", "similar", "failed"]
    together: int = 1
    warm_up: bool = False
    dreamed: bool = False


class Ended(_Part):
    """The last line of a whole recording.

    Args:
        reason: ``stopped``, ``session_ended`` or ``recording_failed``.
        frames: in the video.
        lost: frames that are not, though the engine may have had them.
    """

    event: Literal["ended"] = "ended"
    reason: str
    frames: int
    lost: int


Event = (
    Header
    | Began
    | SettingsInForce
    | SizeInForce
    | ReferenceInForce
    | ModelInForce
    | StylesChanged
    | Segment
    | Given
    | Lost
    | Computed
    | Ended
)

_EVENTS: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def write_event(event: Event) -> bytes:
    """The event's line."""
    return event.model_dump_json().encode() + b"\n"


def parse_event(line: bytes) -> Event:
    """The event of a line.

    Raises:
        MediaError: ``recording_corrupt``.
    """
    try:
        return _EVENTS.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "line"
        fact = f"the timeline has a line that cannot be read: {where}: {first['msg'].lower()}"
        raise MediaError("recording_corrupt", fact, field="recording") from None
