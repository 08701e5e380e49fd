"""The embedded model: one small image-to-image consistency network in pixel space.

The noise process is TrigFlow's (Lu & Song 2024, "Simplifying, stabilizing and scaling continuous-time consistency
models"): x_t = cos(t) x_0 + sin(t) z with t in [0, pi/2] and z of unit variance. The function is

    f(x_t, t) = c_skip(t) x_t - c_out(t) F(x_t, t, style, source)
    c_skip = s^2 cos(t) / (s^2 cos(t)^2 + sin(t)^2),    c_out = sin(t) / sqrt(s^2 cos(t)^2 + sin(t)^2)

so that f(x, 0) = x holds exactly (the boundary condition of Song et al. 2023). With s = 1 this is TrigFlow's cos(t) and
sin(t). Here s is 0.1: it stands for what is still unknown of x_0 once the source is seen, and the source tells F nearly
everything, so x_t is trusted only where its noise is smaller than that. With s = 1, F would have to carry the noise of
every pixel through its narrow middle to take it out again, and a grain stayed in the picture.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from streamgen.config import ModelSpec
from streamgen.errors import WeightsError
from streamgen.models.base import Conditioning, Model
from streamgen.models.phrasebook import match
from streamgen.models.schedules import TrigFlowSchedule
from streamgen.settings import Reading

__all__ = ["STYLE_WIDTH", "TinyModel", "TinyUNet", "evenly_spaced", "load_network", "save_network"]

STYLE_WIDTH = 64
_FORMAT = "streamgen.tiny"
_VERSION = "1"
_UNSHUFFLE = 4
_WIDTHS = (48, 96, 192)
_MIDDLE_BLOCKS = 4
_EMBEDDING = 128
_FREQUENCIES = 8
_HEAD = 8
_UNKNOWN = 0.1
_SIDE = 256


class ConditionalNorm(nn.Module):
    """Instance normalisation whose scale and shift come from the embedding (Dumoulin et al. 2017).

    Scale and shift are linear in the style vector, so mixing two vectors mixes the two styles' parameters.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.affine = nn.Linear(_EMBEDDING, 2 * channels)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.affine(embedding)[:, :, None, None].chunk(2, dim=1)
        # The statistics accumulate in fp32 inside the kernel, in bf16 too.
        return cast(Tensor, F.instance_norm(x) * (1 + scale) + shift)


class ResidualBlock(nn.Module):
    """x + conv(relu(norm(conv(relu(norm(x))))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = ConditionalNorm(channels), ConditionalNorm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(F.relu(self.norm1(x, embedding)))
        h = self.conv2(F.relu(self.norm2(h, embedding)))
        return cast(Tensor, x + h)


class TinyUNet(nn.Module):
    """The network f(x_t, t, style, source) -> x_0; 1.87 GMAC at 256x256, 4.0 M parameters.

    Args:
        styles: how many style vectors the table `styles` [N, 64] holds. The caller picks or mixes rows of it.
    """

    frequencies: Tensor

    def __init__(self, styles: int = 1) -> None:
        super().__init__()
        fine, mid, coarse = _WIDTHS
        self.styles = nn.Parameter(torch.randn(styles, STYLE_WIDTH))
        self.register_buffer("frequencies", torch.arange(1.0, _FREQUENCIES + 1), persistent=False)
        self.time = nn.Sequential(
            nn.Linear(2 * _FREQUENCIES + 6, _EMBEDDING), nn.SiLU(), nn.Linear(_EMBEDDING, _EMBEDDING)
        )
        self.style = nn.Linear(STYLE_WIDTH, _EMBEDDING)
        # Instance normalisation forgets a picture's own colour; these two carry it past.
        self.colour = nn.Linear(3, _EMBEDDING)
        self.tint = nn.Linear(_EMBEDDING, 9)
        self.stem = nn.Conv2d(2 * 3 * _UNSHUFFLE**2, fine, 3, padding=1)
        self.down_fine = ResidualBlock(fine)
        self.to_mid = nn.Conv2d(fine, mid, 3, stride=2, padding=1)
        self.down_mid = ResidualBlock(mid)
        self.to_coarse = nn.Conv2d(mid, coarse, 3, stride=2, padding=1)
        self.middle = nn.ModuleList(ResidualBlock(coarse) for _ in range(_MIDDLE_BLOCKS))
        self.from_coarse = nn.Conv2d(coarse, mid, 1)
        self.up_mid = ResidualBlock(mid)
        self.from_mid = nn.Conv2d(mid, fine, 1)
        self.up_fine = ResidualBlock(fine)
        self.head_norm = ConditionalNorm(fine)
        self.head = nn.Conv2d(fine, _HEAD * _UNSHUFFLE**2, 3, padding=1)
        self.full = nn.Conv2d(_HEAD, 3, 3, padding=1)
        _initialise_subpixels_alike(self.head)
        for late in (self.colour, self.tint):
            nn.init.zeros_(late.weight)
            nn.init.zeros_(late.bias)

    def forward(self, x_t: Tensor, t: Tensor, style: Tensor, source: Tensor) -> Tensor:
        """Denoise once.

        Args:
            x_t: [B, 3, H, W] noisy pictures; H and W multiples of 32.
            t: [B] float32 noise levels in [0, pi/2]; 0 is the picture itself, pi/2 is pure noise.
            style: [B, 64] rows of `styles`, or mixes of them, in x_t's dtype.
            source: [B, 3, H, W] the pictures to stylise, in [-1, 1], in x_t's dtype.

        Returns:
            x_0 [B, 3, H, W], about [-1, 1], in x_t's dtype.
        """
        embedding = self._embed(x_t, t, style, source)
        skip, out = (scale.to(x_t.dtype)[:, None, None, None] for scale in _scales(t))
        return skip * x_t - out * self._raw(x_t, source, embedding)

    def _embed(self, x_t: Tensor, t: Tensor, style: Tensor, source: Tensor) -> Tensor:
        angles = t[:, None] * self.frequencies
        waves = torch.cat([torch.cos(angles), torch.sin(angles)], dim=1).to(style.dtype)
        # Noise averages out: where x_t's mean colour is not the source's, the picture beneath is styled already.
        colour = source.mean((2, 3))
        state = self.time(torch.cat([waves, colour, x_t.mean((2, 3))], dim=1))
        return cast(Tensor, state + self.style(style) + self.colour(colour))

    def _raw(self, x_t: Tensor, source: Tensor, embedding: Tensor) -> Tensor:
        fine = self.stem(F.pixel_unshuffle(torch.cat([x_t, source], dim=1), _UNSHUFFLE))
        fine = self.down_fine(fine, embedding)
        mid = self.down_mid(self.to_mid(fine), embedding)
        x = self.to_coarse(mid)
        for block in self.middle:
            x = block(x, embedding)
        x = self.up_mid(F.interpolate(self.from_coarse(x), scale_factor=2.0, mode="nearest") + mid, embedding)
        x = self.up_fine(F.interpolate(self.from_mid(x), scale_factor=2.0, mode="nearest") + fine, embedding)
        x = self.head(F.relu(self.head_norm(x, embedding)))
        tinted = self.tint(embedding).view(-1, 3, 3) @ source.flatten(2)
        return cast(Tensor, self.full(F.relu(F.pixel_shuffle(x, _UNSHUFFLE))) + tinted.view_as(source))


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


def load_network(path: Path) -> tuple[TinyUNet, list[str]]:
    """Read a weights file made by `save_network`.

    Returns:
        The network in float32, for inference, and the style names in the order of its `styles` rows.

    Raises:
        WeightsError: `weights_missing` when there is no such file, `weights_corrupt` when it is not a safetensors
            file of this network.
    """
    if not path.is_file():
        raise WeightsError("weights_missing", f"no weights file at {path}", field="weights")
    try:
        with safe_open(path, framework="pt") as archive:
            metadata = archive.metadata() or {}
            tensors = {name: archive.get_tensor(name).float() for name in archive.keys()}  # noqa: SIM118 (not a dict)
        if (metadata.get("format"), metadata.get("version")) != (_FORMAT, _VERSION):
            raise ValueError(f"format is {metadata.get('format')!r} version {metadata.get('version')!r}")
        names = [str(name) for name in json.loads(metadata["styles"])]
        network = TinyUNet(styles=len(names))
        network.load_state_dict(tensors)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            "weights_corrupt", f"{path} is no {_FORMAT} weights file: {reason}", field="weights"
        ) from error
    return network.eval().requires_grad_(False), names


def save_network(network: TinyUNet, names: Sequence[str], path: Path) -> None:
    """Write the network in float16 with its style names, atomically. Raises `OSError` when that cannot be done."""
    tensors = {name: value.detach().half().contiguous() for name, value in network.state_dict().items()}
    metadata = {"format": _FORMAT, "version": _VERSION, "licence": "Apache-2.0", "styles": json.dumps(list(names))}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata=metadata)
    partial.chmod(0o644)  # the library writes a file that its owner alone can read
    partial.replace(path)


def evenly_spaced(steps: int) -> list[float]:
    """Levels from pi/2 down. A source noised to t was learned to come out sin(t)^2 of the way to the style."""
    return [math.pi / 2 * (steps - step) / steps for step in range(steps)]


class TinyModel(Model):
    """The embedded family: pixels are their own latents, a prompt is a mix of the weights file's styles."""

    conditioning_names = ("style", "source")
    network: TinyUNet
    needs_source = True
    unused_settings = frozenset(
        {"negative_prompt", "guidance", "guidance_mode", "loras", "control_scale", "reference_scale"}
    )
    default_weights: ClassVar[Path] = Path(__file__).parent / "weights" / "tiny.safetensors"

    def __init__(self, spec: ModelSpec, network: TinyUNet, styles: Sequence[str]) -> None:
        self.spec = replace(spec, width=spec.width or _SIDE, height=spec.height or _SIDE)
        self.schedule = TrigFlowSchedule(evenly_spaced)
        self.network = network
        self.styles = tuple(styles)
        self.loras = {}

    @classmethod
    def load(cls, spec: ModelSpec) -> TinyModel:
        """Read `spec.weights`, or the packaged file. Raises WeightsError: `weights_missing`, `weights_corrupt`."""
        network, styles = load_network(spec.weights or cls.default_weights)
        return cls(spec, network.to(spec.device), styles)

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        return 3, height, width

    def encode_prompt(self, text: str, loras: Mapping[str, float]) -> Conditioning:
        """{"style": [64] float32}: the weighted sum of the style vectors that the phrasebook finds in the text."""
        shares = self._shares(text).styles
        weights = torch.tensor([shares.get(name, 0.0) for name in self.styles], device=self.spec.device)
        return {"style": weights @ self.network.styles}

    def read_prompt(self, text: str) -> Reading:
        return self._shares(text)

    def source_conditioning(self, pixels: Tensor, latents: Tensor) -> Conditioning:
        return {"source": latents}

    def _shares(self, text: str) -> Reading:
        """What the phrasebook reads, without the styles that this weights file lacks."""
        found = match(text)
        styles = {name: share for name, share in found.weights.items() if name in self.styles}
        total = sum(styles.values())
        if total == 0:
            return Reading(0.0, {self.styles[0]: 1.0})
        return Reading(found.understood, {name: share / total for name, share in styles.items()})
