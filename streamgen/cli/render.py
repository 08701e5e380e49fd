"""``streamgen render``: a video or picture file through the same engine that serves live video."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamgen.cli.options import add_engine_arguments, config_of, start_compute, terminable
from streamgen.config import ServerConfig
from streamgen.errors import ConfigError
from streamgen.frames import Frame, Output
from streamgen.media import MediaSource, Picture, Sink, open_sink
from streamgen.settings import (
    SIZE_MAX,
    SIZE_MIN,
    SIZE_MULTIPLE,
    FrameFormat,
    StreamSettings,
    merge_settings,
    parse_format,
)

if TYPE_CHECKING:
    from rich.progress import Progress

    from streamgen.engine.engine import Engine

__all__ = ["add_arguments", "fitting_size", "run"]

_SESSION = "render"
_DEFAULT_AREA = 512 * 512
_EXAMPLES = """examples:
  streamgen render holiday.mp4 painted.mp4 --prompt "van gogh"
  streamgen render portrait.jpg drawn.png --blend pencil:0.7 --blend watercolor:0.3 --width 768
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``streamgen render``."""
    parser.epilog = _EXAMPLES
    parser.add_argument("input", type=Path, metavar="INPUT", help="video or picture file")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="file to write; its suffix says the format")
    unset = argparse.SUPPRESS
    look = parser.add_argument_group("look")
    look.add_argument("--prompt", default=unset, help="the look, in words")
    look.add_argument(
        "--blend",
        action="append",
        default=[],
        metavar="PROMPT:WEIGHT",
        help="one of up to four weighted prompts, instead of --prompt; give it once for each",
    )
    look.add_argument(
        "--strength", type=float, default=unset, help="0 keeps the plain frame, 1 repaints it (default: 1)"
    )
    look.add_argument("--steps", type=int, default=unset, help="denoising steps per frame, 1 to 4 (default: 1)")
    look.add_argument("--seed", type=int, default=unset, help="varies the brushwork (default: 0)")
    shape = parser.add_argument_group("shape")
    shape.add_argument("--width", type=int, help="a multiple of 32 (default: follows the input, about 512x512 in area)")
    shape.add_argument("--height", type=int, help="a multiple of 32 (default: follows the input)")
    shape.add_argument(
        "--fit", choices=["cover", "contain"], default="cover", help="crop to fill (the default), or pad to show all"
    )
    shape.add_argument(
        "--upscale",
        type=int,
        choices=[1, 2, 4],
        default=1,
        help="paint at a half or a quarter of width and height, and enlarge that; sides must be multiples of 64 or 128",
    )
    add_engine_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Stylise ``args.input`` into ``args.output``; cheap checks come before the model is loaded."""
    settings, config = _settings(args), config_of(args)
    start_compute(config.threads)
    with terminable(), MediaSource(args.input) as source:
        format = _format(args, source)
        with open_sink(args.output, source, format.width, format.height) as sink:
            engine = _build_engine(config, format)
            engine.open(_SESSION, format, settings)
            began_s = time.monotonic()
            count = _stylise(engine, source, sink)
            sink.commit()
            elapsed_s = time.monotonic() - began_s
            engine.close_all()
        damaged = f", {source.damaged} damaged packets skipped" if source.damaged else ""
    frames = "1 picture" if source.kind == "image" else f"{count} frames at {count / elapsed_s:.1f} fps"
    print(f"{args.output}: {format.width}x{format.height}, {frames} with {engine.report.chosen}{damaged}")
    return 0


def fitting_size(
    width: int, height: int, asked_width: int | None, asked_height: int | None, upscale: int = 1
) -> tuple[int, int]:
    """Output size for a ``width`` x ``height`` input: what was asked for, and where nothing was, its aspect.

    With nothing asked: the multiples of 32 (times ``upscale``) nearest to the aspect, about 512x512 in area and not far
    above the input; both before ``upscale``, as far as outputs go.
    """
    if asked_width and asked_height:
        return asked_width, asked_height
    if asked_width:
        return asked_width, _side(asked_width * height / width, upscale)
    if asked_height:
        return _side(asked_height * width / height, upscale), asked_height
    scale = upscale * min(1.0, math.sqrt(_DEFAULT_AREA / (width * height)))
    wanted, multiple = width / height, SIZE_MULTIPLE * upscale
    widths = {_side(width * scale, upscale) + steps * multiple for steps in range(-2, 3)}
    sizes = [(w, _side(w / wanted, upscale)) for w in widths if SIZE_MIN * upscale <= w <= SIZE_MAX]

    def badness(size: tuple[int, int]) -> float:
        """Error of the aspect, and a tenth of the error of the area, both in octaves."""
        aspect = abs(math.log2(size[0] / size[1] / wanted))
        return aspect + 0.1 * abs(math.log2(size[0] * size[1] / (width * height * scale**2)))

    return min(sorted(sizes), key=badness)


def _side(pixels: float, upscale: int) -> int:
    multiple = SIZE_MULTIPLE * upscale
    return min(SIZE_MAX, max(SIZE_MIN * upscale, round(pixels / multiple) * multiple))


def _settings(args: argparse.Namespace) -> StreamSettings:
    names = ("prompt", "strength", "steps", "seed")
    changes: dict[str, Any] = {name: getattr(args, name) for name in names if hasattr(args, name)}
    if args.blend:
        if "prompt" in changes:
            raise ConfigError("invalid_arguments", "give --prompt or --blend, not both", field="blend")
        changes["prompts_blend"] = [_blend_entry(text) for text in args.blend]
    return merge_settings(StreamSettings(), changes)


def _blend_entry(text: str) -> dict[str, Any]:
    prompt, colon, weight = text.rpartition(":")
    if not colon:
        return {"prompt": text}
    try:
        return {"prompt": prompt, "weight": float(weight)}
    except ValueError:
        raise ConfigError(
            "invalid_arguments", f"--blend must look like 'pencil:0.5', got {text!r}", field="blend"
        ) from None


def _format(args: argparse.Namespace, source: MediaSource) -> FrameFormat:
    width, height = fitting_size(source.width, source.height, args.width, args.height, args.upscale)
    return parse_format({"width": width, "height": height, "fit": args.fit, "upscale": args.upscale})


def _build_engine(config: ServerConfig, format: FrameFormat) -> Engine:
    from streamgen.engine import build_engine

    spec = replace(config.spec, width=format.painted.width, height=format.painted.height, max_batch=1)
    engine = build_engine(spec, config.backend, config.threads)
    engine.prepare(format)
    return engine


def _stylise(engine: Engine, source: MediaSource, sink: Sink) -> int:
    """Every frame in, every frame out; returns how many."""
    count = 0
    with _progress(source) as progress:
        task = progress.add_task(source.path.name, total=source.frames)
        for item in source.items():
            if not isinstance(item, Picture):
                sink.write_audio(item)
                continue
            # The film's clock drives the engine, so a rendering is the same on every machine.
            [(_, output)] = engine.step([(_SESSION, Frame(item.pixels, seq=count))], item.time_s)
            assert isinstance(output, Output)  # neither the filter nor the pipeline is on
            sink.write_picture(replace(item, pixels=output.pixels))
            count += 1
            progress.advance(task)
            if source.kind == "image":
                break
        progress.tasks[task].total = count  # the file's own count may be an estimate; update() would start over
    return count


@contextmanager
def _progress(source: MediaSource) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.1f} fps" if speed else "- fps")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=source.kind == "image") as progress:
        yield progress
