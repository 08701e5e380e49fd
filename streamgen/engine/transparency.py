"""The last step of a batch: alpha for the sessions that ask for it, and the way back to the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from streamgen import devices
from streamgen.effects.alpha import NO_KEY, KeyNumbers, bleed, chroma_key, key_numbers
from streamgen.effects.matte import mixed
from streamgen.engine.fit import download, inner_box, upload
from streamgen.engine.sampler import stack_rows
from streamgen.engine.state import StreamState
from streamgen.frames import Frame, Pixels
from streamgen.settings import FrameFormat, StreamSettings

__all__ = ["Shown", "retrieve", "source_of"]


@dataclass(frozen=True, slots=True)
class Shown:
    """What one picture of a batch shows.

    Args:
        frame: that it was made from; in a pipelined session not the newest.
        state: of the session.
        fitted: uint8 [H, W, 3], the frame fitted to the format, where that is at hand.
        share: float32 [1, H, W] in [0, 1], how much of each pixel is to be stylised; None where all of it is.
    """

    frame: Frame
    state: StreamState
    fitted: Tensor | None
    share: Tensor | None = None

    @property
    def settings(self) -> StreamSettings:
        return self.state.settings


def retrieve(pictures: Tensor, shown: Sequence[Shown], device: str) -> list[Pixels]:
    """Pictures of one format as their sessions want them: uint8 [H, W, 4] with straight alpha where the settings say
    ``alpha``, else [H, W, 3]. Of those with a share the rest is transparent, or else the plain frame.

    Args:
        pictures: uint8 [B, H, W, 3], on the host or the device.
        shown: one for each.
        device: where to compute.
    """
    clear = [index for index, one in enumerate(shown) if one.settings.alpha]
    if any(one.share is not None and not one.settings.alpha for one in shown):
        pictures = _in_part(pictures.to(device, non_blocking=True), shown)
    if not clear:
        return download(pictures)
    solid = [index for index, one in enumerate(shown) if not one.settings.alpha]
    with_alpha = _with_alpha(_rows(pictures, clear).to(device, non_blocking=True), [shown[index] for index in clear])
    pixels = dict(zip(clear, download(with_alpha), strict=True))
    if solid:
        pixels |= zip(solid, download(_rows(pictures, solid)), strict=True)
    return [pixels[index] for index in range(len(shown))]


def _rows(pictures: Tensor, indices: Sequence[int]) -> Tensor:
    """Some rows, or all. Indexing a CUDA tensor with a list would wait for the device."""
    return pictures if len(indices) == len(pictures) else stack_rows([pictures[index] for index in indices])


def _in_part(pictures: Tensor, shown: Sequence[Shown]) -> Tensor:
    """uint8 [B, H, W, 3]: the plain frame where a picture without alpha is not to be stylised."""
    device = str(pictures.device)
    return stack_rows(
        [
            picture
            if one.share is None or one.settings.alpha
            else mixed(source_of(one, device)[None], picture[None], one.share[None])[0]
            for picture, one in zip(pictures, shown, strict=True)
        ]
    )


def _with_alpha(pictures: Tensor, shown: Sequence[Shown]) -> Tensor:
    """uint8 [B, H, W, 3] to [B, H, W, 4], the colours bled under what is transparent."""
    maps = _alpha_maps(shown, str(pictures.device))
    if not maps:
        return torch.cat([pictures, torch.full_like(pictures[..., :1], 255)], dim=-1)
    alpha = reduce(torch.mul, maps)
    levels = alpha.mul(255).round_().to(torch.uint8).permute(0, 2, 3, 1)
    return torch.cat([bleed(pictures, alpha), levels], dim=-1)


def _alpha_maps(shown: Sequence[Shown], device: str) -> list[Tensor]:
    """Every source of transparency: float32 [B, 1, H, W] in [0, 1] each. What one of them takes away no other brings
    back: they are to be multiplied."""
    format = shown[0].state.format
    maps = []
    if any(one.settings.key_colour for one in shown):
        sources = stack_rows([source_of(one, device) for one in shown])
        maps.append(chroma_key(sources, devices.upload([_key(one.settings) for one in shown], device)))
    boxes = [inner_box((len(one.frame.pixels), one.frame.pixels.shape[1]), format) for one in shown]
    if any((height, width) != (format.height, format.width) for _, _, height, width in boxes):
        maps.append(_inside(boxes, format, device))
    if any(one.share is not None for one in shown):
        whole = torch.ones((1, format.height, format.width), device=device)
        maps.append(stack_rows([whole if one.share is None else one.share for one in shown]))
    return maps


def source_of(shown: Shown, device: str) -> Tensor:
    """uint8 [H, W, 3], the frame itself, fitted."""
    fitted = shown.fitted
    if fitted is None:
        [fitted] = upload([shown.frame.pixels], shown.state.format, device)
    return fitted.to(device, non_blocking=True)


def _key(settings: StreamSettings) -> KeyNumbers:
    """A prompt stream has no screen behind its subject."""
    if not settings.key_colour or settings.source == "prompt":
        return NO_KEY
    return key_numbers(settings.key_colour, settings.key_similarity, settings.key_smoothness)


def _inside(boxes: Sequence[tuple[int, int, int, int]], format: FrameFormat, device: str) -> Tensor:
    """1 where the frame lies, 0 in its padding."""
    inside = torch.zeros((len(boxes), 1, format.height, format.width), device=device)
    for row, (top, left, height, width) in zip(inside, boxes, strict=True):
        row[:, top : top + height, left : left + width] = 1
    return inside
