"""The prompt encoder while it learns, and its export to eight bits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from streamgen.models.text_network import BUCKETS, WIDTH, TextNetwork
from streamgen.training.prompts.lessons import Batch

__all__ = ["PROTOTYPES", "TextLearner", "calibrate", "export", "losses"]

PROTOTYPES = 8
"""Points that stand for a style."""
_HIDDEN = 192
_SHARPNESS = 16.0
_DROPPED = 0.15
_STEEP = 1e-5


class TextLearner(nn.Module):
    """`streamgen.models.text_network.TextNetwork` with the styles' prototypes, in float32 and differentiable."""

    def __init__(self, styles: int) -> None:
        super().__init__()
        self.table = nn.EmbeddingBag(BUCKETS, WIDTH, mode="sum", include_last_offset=False)
        self.query = nn.Parameter(torch.zeros(WIDTH))
        self.up = nn.Linear(WIDTH, _HIDDEN)
        self.down = nn.Linear(_HIDDEN, WIDTH, bias=False)
        self.prototypes = nn.Parameter(torch.randn(styles, PROTOTYPES, WIDTH) / math.sqrt(WIDTH))
        self.heat = nn.Parameter(torch.tensor(math.log(16.0)))
        self.certainty = nn.Parameter(torch.tensor([12.0, -6.0]))
        nn.init.normal_(self.table.weight, std=0.02)

    def forward(self, batch: Batch) -> Tensor:
        """Points [B, 96] of length 1."""
        weights = batch.weights
        if self.training:
            # Now and then a word is known by its n-grams alone, as a misspelt or unknown one will be.
            weights = weights * (torch.rand_like(weights) >= _DROPPED)
        tokens = self.table(batch.rows, batch.starts, per_sample_weights=weights)  # [T, 96]
        attention = tokens @ self.query
        attention = (attention - attention.detach().max()).exp()[:, None]
        count = len(batch.points)
        total = attention.new_zeros(count, 1).index_add(0, batch.texts, attention)
        pooled = attention.new_zeros(count, WIDTH).index_add(0, batch.texts, attention * tokens) / (total + 1e-9)
        return F.normalize(pooled + self.down(F.relu(self.up(pooled))), dim=1)

    def scores(self, points: Tensor) -> Tensor:
        """Likeness [B, S] to the styles: a soft maximum over the cosines with their prototypes."""
        cosines = torch.einsum("bw,spw->bsp", points, F.normalize(self.prototypes, dim=2))
        return torch.logsumexp(_SHARPNESS * cosines, dim=2).sub(math.log(PROTOTYPES)) / _SHARPNESS


def losses(learner: TextLearner, batch: Batch) -> dict[str, Tensor]:
    """How far the points are from the teacher's, and styles and understanding from what they should be.

    Each is a scalar; their sum is what is minimised.
    """
    points = learner(batch)
    scores = learner.scores(points)
    away = 1.0 - (points * batch.points).sum(1)
    styles = F.cross_entropy(learner.heat.exp() * scores, batch.styles, reduction="none")
    slope, offset = learner.certainty
    look = F.binary_cross_entropy_with_logits(slope * scores.max(1).values + offset, batch.understood)
    return {
        "teacher": 2.0 * (away * batch.trust).mean(),
        "style": (styles * batch.sure).sum() / batch.sure.sum().clamp_min(1.0),
        "understood": look,
    }


def calibrate(learner: TextLearner, asked: Sequence[str], outside: Sequence[str]) -> Tensor:
    """Slope and offset [2] of what is understood by likeness, from prompts and as many other texts as one likes.

    A logistic regression in which both kinds of text count alike. What training says of its own texts is too sure of
    others.
    """
    network = TextNetwork(export(learner, learner.certainty))
    points = torch.from_numpy(np.stack([network.embed(text) for text in (*asked, *outside)]))
    likeness = learner.scores(points).detach().max(1).values
    wanted = torch.cat([torch.ones(len(asked)), torch.zeros(len(outside))])
    weight = torch.where(wanted > 0, 0.5 / len(asked), 0.5 / len(outside))
    certainty = torch.tensor([12.0, -6.0], requires_grad=True)
    solver = torch.optim.LBFGS([certainty], max_iter=100)

    def loss() -> Tensor:
        solver.zero_grad()
        told = certainty[0] * likeness + certainty[1]
        wrong = F.binary_cross_entropy_with_logits(told, wanted, weight=weight, reduction="sum")
        wrong = wrong + _STEEP * certainty[0] ** 2  # or a perfect separation would know no bounds
        wrong.backward()  # type: ignore[no-untyped-call]
        return wrong

    solver.step(loss)  # type: ignore[no-untyped-call]
    return certainty.detach()


@torch.no_grad()
def export(learner: TextLearner, certainty: Tensor) -> dict[str, NDArray[np.generic]]:
    """What `TextNetwork` and `PromptEncoder` read: the table in int8 with a scale for each row, the rest in float16."""
    table = learner.table.weight
    scale = (table.abs().amax(1, keepdim=True) / 127.0).clamp_min(1e-6).half()
    rounded = (table / scale.float()).round().clamp(-127, 127).to(torch.int8)
    others = {
        "scale": scale,
        "query": learner.query,
        "up": learner.up.weight,
        "up_bias": learner.up.bias,
        "down": learner.down.weight,
        "prototypes": F.normalize(learner.prototypes, dim=2),
        "calibration": torch.cat([learner.heat.exp()[None], certainty]),
    }
    return {"table": rounded.numpy(), **{name: tensor.half().numpy() for name, tensor in others.items()}}
