"""The network of the embedded model: one small image-to-image consistency function in pixel space.

The noise process is TrigFlow's (Lu & Song 2024, "Simplifying, stabilizing and scaling continuous-time consistency
models"): x_t = cos(t) x_0 + sin(t) z with t in [0, pi/2] and z of unit variance. The function is

    f(x_t, t) = c_skip(t) x_t + c_out(t) F(x_t, t, strength, style, source)
    c_skip = s^2 cos(t) / (s^2 cos(t)^2 + sin(t)^2),    c_out = sin(t) / sqrt(s^2 cos(t)^2 + sin(t)^2)

so that f(x, 0) = x holds exactly (the boundary condition of Song et al. 2023). With s = 1 this is TrigFlow's cos(t) and
sin(t), up to the sign of F. Here s is 0.1: it stands for what is still unknown of x_0 once the source is seen, and the
source tells F nearly everything, so x_t is trusted only where its noise is smaller than that. With s = 1, F would have
to carry the noise of every pixel through its narrow middle to take it out again, and a grain stayed in the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["STYLE_WIDTH", "TinyUNet"]

_UNSHUFFLE = 4
_WIDTHS = (24, 64, 128)
_MIDDLE_BLOCKS = 4
_EMBEDDING = 128
_FREQUENCIES = 8
_HEAD = 6
_UNKNOWN = 0.1
_COLOUR_MATRIX = 9

_FINE, _MID, _COARSE = _WIDTHS
_NORMS = (
    [_FINE] * 2 + [_MID] * 2 + [_COARSE] * 2 * _MIDDLE_BLOCKS + [_MID] * 2 + [_FINE] * 2 + [_FINE]
)  # channels of every normalisation, in the order of their use

STYLE_WIDTH = 2 * sum(_NORMS) + _COLOUR_MATRIX
"""Numbers that make a style: a scale and a shift for every channel of every normalisation, and a colour matrix."""


class _Modulation:
    """Hands out, in the order of use, the scales and shifts that a vector [B, STYLE_WIDTH] holds."""

    def __init__(self, vector: Tensor) -> None:
        self._parts: Iterator[Tensor] = iter(torch.split(vector, [*(2 * n for n in _NORMS), _COLOUR_MATRIX], dim=1))

    def normalise(self, x: Tensor) -> Tensor:
        """Conditional instance normalisation (Dumoulin et al. 2017)."""
        scale, shift = next(self._parts)[:, :, None, None].chunk(2, dim=1)
        # The statistics accumulate in fp32 inside the kernel, in bf16 too.
        return F.instance_norm(x) * (1 + scale) + shift

    def tint(self, source: Tensor) -> Tensor:
        """The source [B, 3, H, W] through the colour matrix: instance normalisation forgets a picture's own colour."""
        matrix = next(self._parts).view(-1, 3, 3)
        return (matrix @ source.flatten(2)).view_as(source)


class _ResidualBlock(nn.Module):
    """x + conv(relu(norm(conv(relu(norm(x))))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, modulation: _Modulation) -> Tensor:
        h = self.conv1(F.relu(modulation.normalise(x)))
        h = self.conv2(F.relu(modulation.normalise(h)))
        return cast(Tensor, x + h)


class TinyUNet(nn.Module):
    """f(x_t, t, strength, style, source) -> x_0; 0.68 GMAC at 256x256, 2.5 M parameters.

    Args:
        styles: how many style vectors the table `styles` [N, STYLE_WIDTH] holds. The caller picks or mixes rows of it,
            or brings vectors of its own: a style is an input of the network and nothing else.
    """

    frequencies: Tensor
    quantised: Path | None = None
    """Where its int8 variant lies, for backends that run such graphs."""

    def __init__(self, styles: int = 1) -> None:
        super().__init__()
        self.styles = nn.Parameter(torch.randn(styles, STYLE_WIDTH) * 0.1)
        self.register_buffer("frequencies", torch.arange(1.0, _FREQUENCIES + 1), persistent=False)
        self.state = nn.Sequential(
            nn.Linear(2 * _FREQUENCIES + 7, _EMBEDDING), nn.SiLU(), nn.Linear(_EMBEDDING, _EMBEDDING), nn.SiLU()
        )
        self.gain = nn.Linear(_EMBEDDING, STYLE_WIDTH)
        self.offset = nn.Linear(_EMBEDDING, STYLE_WIDTH)
        self.stem = nn.Conv2d(2 * 3 * _UNSHUFFLE**2, _FINE, 3, padding=1)
        self.down_fine = _ResidualBlock(_FINE)
        self.to_mid = nn.Conv2d(_FINE, _MID, 3, stride=2, padding=1)
        self.down_mid = _ResidualBlock(_MID)
        self.to_coarse = nn.Conv2d(_MID, _COARSE, 3, stride=2, padding=1)
        self.middle = nn.ModuleList(_ResidualBlock(_COARSE) for _ in range(_MIDDLE_BLOCKS))
        self.from_coarse = nn.Conv2d(_COARSE, _MID, 1)
        self.up_mid = _ResidualBlock(_MID)
        self.from_mid = nn.Conv2d(_MID, _FINE, 1)
        self.up_fine = _ResidualBlock(_FINE)
        self.head = nn.Conv2d(_FINE, _HEAD * _UNSHUFFLE**2, 1)
        self.full = nn.Conv2d(_HEAD, 3, 3, padding=1)
        _initialise_subpixels_alike(self.head)
        for late in (self.gain, self.offset):
            nn.init.normal_(late.weight, std=0.01)
            nn.init.zeros_(late.bias)

    def forward(self, x_t: Tensor, t: Tensor, strength: Tensor, style: Tensor, source: Tensor) -> Tensor:
        """Denoise once.

        Args:
            x_t: [B, 3, H, W] noisy pictures; H and W multiples of 32.
            t: [B] float32 noise levels in [0, pi/2]; 0 is the picture itself, pi/2 is pure noise.
            strength: [B, 1] in [0, 1], how far the answer shall lie on the way from the source to the style.
            style: [B, STYLE_WIDTH] rows of `styles`, or mixes of them, in x_t's dtype.
            source: [B, 3, H, W] the pictures to stylise, in [-1, 1], in x_t's dtype.

        Returns:
            x_0 [B, 3, H, W], about [-1, 1], in x_t's dtype.
        """
        modulation = _Modulation(self._modulate(x_t, t, strength, style, source))
        skip, out = (scale.to(x_t.dtype)[:, None, None, None] for scale in _scales(t))
        return skip * x_t + out * self._raw(x_t, source, modulation)

    def _modulate(self, x_t: Tensor, t: Tensor, strength: Tensor, style: Tensor, source: Tensor) -> Tensor:
        angles = t[:, None] * self.frequencies
        waves = torch.cat([torch.cos(angles), torch.sin(angles)], dim=1).to(style.dtype)
        means = torch.cat([source.mean((2, 3)), x_t.mean((2, 3))], dim=1)
        state = self.state(torch.cat([waves, strength.to(style.dtype), means], dim=1))
        # Linear in the style, so that mixing two vectors mixes the two styles' parameters.
        return cast(Tensor, style * (1 + self.gain(state)) + self.offset(state))

    def _raw(self, x_t: Tensor, source: Tensor, modulation: _Modulation) -> Tensor:
        fine = self.stem(F.pixel_unshuffle(torch.cat([x_t, source], dim=1), _UNSHUFFLE))
        fine = self.down_fine(fine, modulation)
        mid = self.down_mid(self.to_mid(fine), modulation)
        x = self.to_coarse(mid)
        for block in self.middle:
            x = block(x, modulation)
        x = self.up_mid(F.interpolate(self.from_coarse(x), scale_factor=2.0, mode="nearest") + mid, modulation)
        x = self.up_fine(F.interpolate(self.from_mid(x), scale_factor=2.0, mode="nearest") + fine, modulation)
        x = self.head(F.relu(modulation.normalise(x)))
        x = self.full(F.relu(F.pixel_shuffle(x, _UNSHUFFLE)))
        return cast(Tensor, x + modulation.tint(source))


def _scales(t: Tensor) -> tuple[Tensor, Tensor]:
    """c_skip and c_out of t [B]; (1, 0) at 0 and (0, 1) at pi/2."""
    cosine, sine = torch.cos(t), torch.sin(t)
    variance = _UNKNOWN**2 * cosine**2 + sine**2
    return _UNKNOWN**2 * cosine / variance, sine / torch.sqrt(variance)


def _initialise_subpixels_alike(conv: nn.Conv2d) -> None:
    """Give the 16 filters behind each output channel of the pixel shuffle one start (ICNR), against a grid pattern."""
    with torch.no_grad():
        every = _UNSHUFFLE**2
        conv.weight.copy_(conv.weight[::every].repeat_interleave(every, dim=0))
        assert conv.bias is not None
        conv.bias.copy_(conv.bias[::every].repeat_interleave(every))
