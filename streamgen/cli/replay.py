"""``streamgen replay``: a recorded session computed again, without a server, and not in real time."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from av.audio.stream import AudioStream

from streamgen.cli.options import add_engine_arguments, config_of, start_compute, terminable
from streamgen.codec import flatten
from streamgen.errors import ConfigError, MediaError
from streamgen.frames import Output, Pixels
from streamgen.lossless import LosslessSink
from streamgen.media import VIDEO_SUFFIXES, Picture, Sink, open_sink
from streamgen.recording import Recording
from streamgen.timeline import ModelIdentity

if TYPE_CHECKING:
    from streamgen.engine.engine import Engine

__all__ = ["add_arguments", "run"]

_OF_A_MODEL = (
    "model",
    "weights",
    "vae",
    "sampler",
    "loras",
    "fused_loras",
    "embeddings",
    "clip_skip",
    "controlnet",
    "control",
    "control_model",
    "ip_adapter",
    "quantise",
)
_TIME_BASE = Fraction(1, 1000)
_EXAMPLES = """examples:
  streamgen replay 20260101-120000-a1b2c3.jsonl again.mkv
  streamgen replay 20260101-120000-a1b2c3.jsonl large.mp4 --model stabilityai/sd-turbo --size 768x768 --every-frame
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``streamgen replay``."""
    parser.epilog = _EXAMPLES
    parser.add_argument("recording", type=Path, metavar="RECORDING", help="the .jsonl or .mkv of a recording")
    parser.add_argument(
        "output",
        type=Path,
        metavar="OUTPUT",
        help="file to write: .mkv keeps every bit, .mp4, .webm, .mov and .m4v are smaller; where the size of the "
        "pictures changes, another file follows",
    )
    parser.add_argument("--size", type=_size, metavar="WxH", help="another size than the recording's")
    parser.add_argument(
        "--every-frame", action="store_true", help="compute the frames too that a slower device had no time for"
    )
    parser.add_argument(
        "--any-weights", action="store_true", help="go on with other weights than those the recording was made with"
    )
    add_engine_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Compute ``args.recording`` again; cheap checks come before the model is loaded."""
    recording = Recording.open(args.recording)
    _check_output(args)
    given = vars(args)
    start_compute(given.get("threads") or recording.first.model.threads)
    from streamgen.engine.replay import Replay

    other = any(name in given for name in _OF_A_MODEL)
    with terminable(), ExitStack() as stack:
        replay = Replay(
            recording,
            _builder(args, other),
            size=args.size,
            every_frame=args.every_frame,
            model_stays=other,
        )
        stack.callback(replay.close)
        files, count = _write(args, recording, replay.pictures())
        chosen, missing = replay.engine.report.chosen, replay.missing
    _report(args, recording, files, count, chosen)
    survey = recording.survey
    if missing or survey.lost:
        lacks = max(missing, survey.lost)
        print(f"streamgen: the recording lacks {lacks} frames, for which the disk was too slow", file=sys.stderr)
    if recording.cut or not survey.complete:
        fact = f"the recording was cut off; what came before is in {files[0] if files else 'no file'}, {count} pictures"
        raise MediaError("recording_incomplete", fact, field="recording")
    return 0


def _check_output(args: argparse.Namespace) -> None:
    output: Path = args.output
    if output.suffix.lower() not in VIDEO_SUFFIXES:
        raise MediaError(
            "unknown_format", f"the output must end in {', '.join(VIDEO_SUFFIXES)}, got {output}", field="output"
        )
    if output.with_suffix("").absolute() == args.recording.with_suffix("").absolute():
        raise MediaError("same_file", f"input and output are the same file, {output}", field="output")


def _builder(args: argparse.Namespace, other: bool) -> Callable[[ModelIdentity], Engine]:
    """How to make the engine of a model that the recording names, or of the one that the command line does."""
    from streamgen.engine import build_engine
    from streamgen.engine.journal import identify
    from streamgen.engine.replay import differences, spec_of

    given, config = vars(args), config_of(args)

    def build(model: ModelIdentity) -> Engine:
        spec, backend = (config.spec, config.backend) if other else (spec_of(model), model.backend)
        if "device" in given and not other and given["device"] != spec.device:
            spec, backend = replace(spec, device=given["device"], dtype="auto"), "auto"
        spec = replace(spec, dtype=given.get("dtype", spec.dtype), max_batch=1)
        threads = given.get("threads") or model.threads
        engine = build_engine(spec, given.get("backend", backend), threads)
        present = identify(engine)
        same = bool(present.weights) and present.weights == model.weights
        if not other and not same and present.dtype == model.dtype:
            _judge_weights(args, model, present)
        notes = differences(model, present)
        if other:
            notes = ["another model", *notes]
        if args.size is not None:
            notes = [f"size {args.size[0]}x{args.size[1]}", *notes]
        if notes:
            print(f"streamgen: not bit for bit what was live: {'; '.join(notes)}", file=sys.stderr)
        return engine

    return build


def _judge_weights(args: argparse.Namespace, recorded: ModelIdentity, present: ModelIdentity) -> None:
    if not present.weights or not recorded.weights:
        print("streamgen: whether the weights are the recording's cannot be told", file=sys.stderr)
        return
    fact = f"the weights differ from those of the recording: {present.weights[:12]} now, {recorded.weights[:12]} then"
    if not args.any_weights:
        raise ConfigError("weights_differ", f"{fact}; --any-weights goes on with them", field="weights")
    print(f"streamgen: {fact}", file=sys.stderr)


def _write(args: argparse.Namespace, recording: Recording, outputs: Iterator[Output]) -> tuple[list[Path], int]:
    """Write every picture; a new file begins where their shape changes."""
    writing = _Writing(args.output, args.recording)
    survey = recording.survey
    total = survey.given if args.every_frame and survey.given else survey.made
    try:
        with _progress(args.recording.name, total) as advance:
            for output in outputs:
                writing.write(output)
                advance()
        writing.commit()
    finally:
        writing.discard()
    return writing.files, writing.count


@dataclass
class _Clip:
    """What ``open_sink`` has to know of a recording."""

    path: Path
    kind: Literal["image", "video"] = "video"
    frame_rate: Fraction | None = None
    time_base: Fraction = _TIME_BASE
    audio: tuple[AudioStream, ...] = ()


class _Writing:
    """The file that is being written, and those that are done."""

    def __init__(self, path: Path, source: Path) -> None:
        self.files: list[Path] = []
        self.count = 0
        self._path = path
        self._clip = _Clip(source)
        self._shape: tuple[int, ...] = ()
        self._sink: Sink | None = None
        self._began_s = 0.0
        self._pts = -1

    def write(self, output: Output) -> None:
        """Append a picture."""
        lossless = self._path.suffix.lower() == ".mkv"
        pixels = output.pixels if lossless or output.pixels.shape[2] == 3 else flatten(output.pixels)
        if pixels.shape != self._shape:
            self.commit()
            self._open(pixels, lossless)
        if self.count == 0:
            self._began_s = output.received_s
        self._pts = max(self._pts + 1, round((output.received_s - self._began_s) / _TIME_BASE))
        assert self._sink is not None
        self._sink.write_picture(Picture(pixels, self._pts, _TIME_BASE))
        self.count += 1

    def commit(self) -> None:
        """Complete the present file."""
        if self._sink is not None:
            self._sink.commit()
            self.files.append(self._sink.path)
            self.discard()

    def discard(self) -> None:
        """Let go of a file that is not complete."""
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.__exit__(None, None, None)

    def _open(self, pixels: Pixels, lossless: bool) -> None:
        number = len(self.files) + 1
        path = self._path if number == 1 else self._path.with_name(f"{self._path.stem}-{number}{self._path.suffix}")
        height, width, channels = self._shape = pixels.shape
        self._sink = (
            LosslessSink(path, (height, width, channels)) if lossless else open_sink(path, self._clip, width, height)
        )


def _report(args: argparse.Namespace, recording: Recording, files: list[Path], count: int, chosen: str) -> None:
    survey = recording.survey
    notes = [f"{count} pictures with {chosen}"]
    if not args.every_frame and survey.unseen:
        notes.append(f"{survey.unseen} frames were dropped live, --every-frame computes them too")
    if survey.warm_up:
        notes.append(f"{survey.warm_up} of them were made during warm-up, by a network that is not used here")
    if survey.together:
        notes.append(f"{survey.together} were computed together with other sessions', which may round differently")
    print(f"{', '.join(map(str, files)) or 'no file'}: {', '.join(notes)}")


@contextmanager
def _progress(name: str, total: int) -> Iterator[Callable[[], None]]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=total)
        yield lambda: progress.advance(task)


def _size(text: str) -> tuple[int, int]:
    """An argument type: width and height."""
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"must look like 512x512, got {text!r}")
    return int(found[1]), int(found[2])
