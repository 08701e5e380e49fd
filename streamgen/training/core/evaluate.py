"""Figures on photos that training never saw: `python -m streamgen.training.core.evaluate --data DIR [--weights FILE]`.

Texture and content are judged by VGG16 features, which no loss used.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from streamgen.models.schedules import TrigFlowSchedule
from streamgen.models.tiny import TinyModel, TinyUNet, evenly_spaced, load_network
from streamgen.training.core.recipe import STYLES
from streamgen.training.core.teachers import Teachers
from streamgen.training.data import Photos, Pixels, centre_crop, read_picture, to_pixels, to_tensor
from streamgen.training.features import JudgeFeatures
from streamgen.training.losses import Taps, grams, texture_distance
from streamgen.training.sheet import save_sheet

__all__ = ["STRENGTHS", "Score", "main", "render", "score_style"]

STRENGTHS = (0.25, 0.5, 0.75, 1.0)
_SENSOR_NOISE = 0.02


@dataclass(frozen=True, slots=True)
class Score:
    """How one style does on held-out photos; means over photos.

    Args:
        texture: Gram distance to the teacher's pictures, as a share of the plain photo's: 0 is the
            teacher itself, 1 is a photo without any style. One step.
        texture_4: the same after four steps.
        content: distance of instance-normalised deep features to the photo: 0 is the photo, about 2 is any other photo.
        teacher_content: the same for the teacher's pictures.
        change: mean absolute difference to the photo, of 2, at each of `STRENGTHS`, one step.
        flicker: what a still scene's sensor noise becomes in the output, as a multiple of itself; below 1 is steadier
            than the camera.
    """

    name: str
    texture: float
    texture_4: float
    content: float
    teacher_content: float
    change: tuple[float, ...]
    flicker: float

    @property
    def monotone(self) -> bool:
        """Whether more strength is more change."""
        return all(a < b for a, b in zip(self.change, self.change[1:], strict=False))


@torch.no_grad()
def render(network: TinyUNet, row: int, source: Tensor, steps: int = 1, strength: float = 1.0, seed: int = 0) -> Tensor:
    """Multistep consistency sampling (Song et al. 2023, algorithm 1) of sources [B, 3, H, W] in one row of the table.

    The noise of each step is the same for every picture, as it is for every frame of a session.
    """
    schedule, generator = TrigFlowSchedule(evenly_spaced), torch.Generator().manual_seed(seed)
    style = network.styles[row].expand(len(source), -1)
    picture = source
    for level in schedule.timesteps(steps, strength):
        t = torch.full((len(source),), level)
        noise = torch.randn(source.shape[1:], generator=generator)
        x_t = schedule.alpha(t[0]) * picture + schedule.sigma(t[0]) * noise
        picture = network(x_t, t, style, source)
    return picture


@torch.no_grad()
def score_style(network: TinyUNet, row: int, source: Tensor, teacher: Tensor, judge: Callable[[Tensor], Taps]) -> Score:
    """Score the style in `row` of the table on sources [B, 3, H, W] against the teacher's pictures of them."""
    once = render(network, row, source)
    features, plain, taught = judge(once), judge(source), judge(teacher)
    wanted = grams(taught)
    unstyled = texture_distance(grams(plain), wanted).mean()
    generator = torch.Generator().manual_seed(1)
    frames = [source + _SENSOR_NOISE * torch.randn(source.shape, generator=generator) for _ in range(2)]
    flicker = _difference(*(render(network, row, frame) for frame in frames)) / _difference(*frames)
    return Score(
        name=STYLES[row].name,
        texture=float(texture_distance(grams(features), wanted).mean() / unstyled),
        texture_4=float(
            texture_distance(grams(judge(render(network, row, source, steps=4))), wanted).mean() / unstyled
        ),
        content=_content(features, plain),
        teacher_content=_content(taught, plain),
        change=tuple(_difference(render(network, row, source, strength=s), source) for s in STRENGTHS),
        flicker=flicker,
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the table for a weights file; with `--sheet`, also write pictures of steps and strengths."""
    parser = argparse.ArgumentParser(description="Score a weights file on held-out photos.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, default=TinyModel.default_weights)
    parser.add_argument("--photos", type=int, default=12)
    parser.add_argument("--sheet", type=Path, help="write a contact sheet of steps and strengths to this PNG")
    args = parser.parse_args(arguments)
    network, names = load_network(args.weights)
    if names != [style.name for style in STYLES]:
        parser.error(f"{args.weights} holds other styles than the recipe: {names}")
    photos = _held_out(args.data, args.photos)
    _print_table(_score_all(network, photos, args.data))
    if args.sheet:
        _save_steps_and_strengths(network, photos, args.sheet)
    return 0


def _held_out(data: Path, count: int) -> list[Pixels]:
    files = Photos(data, "val").files
    return [centre_crop(read_picture(file)) for file in files[:: max(1, len(files) // count)][:count]]


def _score_all(network: TinyUNet, photos: list[Pixels], data: Path) -> list[Score]:
    judge = JudgeFeatures(data / "features" / "vgg16_hed_to_conv4_1_fp16.npz")
    teachers = Teachers(data)
    source = to_tensor(photos)
    return [
        score_style(network, row, source, torch.stack([teachers.picture(photo, style) for photo in photos]), judge)
        for row, style in enumerate(STYLES)
    ]


def _print_table(scores: list[Score]) -> None:
    changes = [f"change {strength}" for strength in STRENGTHS]
    table = Table("style", "texture", "4 steps", "content", "teacher's", *changes, "monotone", "flicker")
    for s in scores:
        figures = (f"{value:.2f}" for value in s.change)
        texture = (f"{s.texture:.2f}", f"{s.texture_4:.2f}", f"{s.content:.2f}", f"{s.teacher_content:.2f}")
        table.add_row(s.name, *texture, *figures, "yes" if s.monotone else "no", f"{s.flicker:.2f}")
    Console(width=120).print(table)


def _save_steps_and_strengths(network: TinyUNet, photos: list[Pixels], path: Path) -> None:
    runs = [(1, 1.0), (2, 1.0), (4, 1.0), (1, 0.3), (1, 0.6), (2, 0.6)]
    rows = []
    for row in range(len(STYLES)):
        photo = photos[row % len(photos)]
        source = to_tensor([photo])
        pictures = [to_pixels(render(network, row, source, steps, strength))[0] for steps, strength in runs]
        rows.append([photo, *pictures])
    save_sheet(path, rows, ["source", *(f"{steps} steps, strength {strength}" for steps, strength in runs)])


def _content(features: Taps, plain: Taps) -> float:
    found, wanted = (F.instance_norm(taps[JudgeFeatures.content_tap]) for taps in (features, plain))
    return float((found - wanted).square().mean())


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().mean())


if __name__ == "__main__":
    raise SystemExit(main())
