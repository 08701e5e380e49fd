"""Free text to weights over styles: known names exactly, all else by likeness to points that stand for each style.

A style is a name and a few points on the sphere of `text_network`, so a new one needs no training: a name and a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from streamgen.errors import WeightsError
from streamgen.models.phrasebook import DEFAULT_STYLE, PHRASES, PhraseIndex, known_phrases
from streamgen.models.prompt_grammar import Segment, segments
from streamgen.models.text_network import Floats, TextNetwork, load_tensors
from streamgen.settings import Reading

__all__ = ["DEFAULT_WEIGHTS", "PromptEncoder", "without"]

DEFAULT_WEIGHTS = Path(__file__).parent / "weights" / "prompts.safetensors"
_SHARPNESS = 16.0
_HELD = 0.3
"""Styles with less than this share of the strongest one's weight are left out of a mix that nobody wrote down."""
_NEAREST = 3
_LEAST = 0.03
"""Shares below this are no part of a mix."""
_STAND_IN = 0.4
"""How well a prompt is understood that names a style which the model lacks."""
_NAMES = 12
"""So many of a style's names tell what it is like."""
_SURE = 0.5
"""What a negative prompt must be understood to, to take anything away."""


class PromptEncoder:
    """Reads prompts as mixes of the styles of one model. Immutable; every method is a pure function.

    Args:
        network: text to points of length 1.
        prototypes: style to its points, float32 [K, 96] of length 1, in the order of the model's styles.
        index: the phrases that are read exactly. They may mean styles that ``stand_ins`` replaces.
        stand_ins: style that is not in ``prototypes`` to the one that is nearest to it.
        heat: how sharply a style that is a little nearer is preferred.
        certainty: slope and offset of what is understood by likeness.
    """

    def __init__(
        self,
        network: TextNetwork,
        prototypes: Mapping[str, Floats],
        index: PhraseIndex,
        stand_ins: Mapping[str, str],
        heat: float,
        certainty: tuple[float, float],
    ) -> None:
        self.styles = tuple(prototypes)
        self._network = network
        self._prototypes = dict(prototypes)
        self._index = index
        self._stand_ins = dict(stand_ins)
        self._heat = heat
        self._certainty = certainty
        self._points = np.concatenate(list(prototypes.values()))  # [P, 96]
        counts = [len(points) for points in prototypes.values()]
        self._starts = np.cumsum([0, *counts[:-1]])
        self._counts = np.array(counts, np.float32)

    @classmethod
    def load(cls, path: Path = DEFAULT_WEIGHTS) -> PromptEncoder:
        """The encoder with all styles it was trained on. Raises WeightsError: `weights_missing`, `weights_corrupt`."""
        tensors, styles = load_tensors(path)
        try:
            prototypes = tensors["prototypes"].astype(np.float32)  # [S, K, 96]
            heat, slope, offset = tensors["calibration"].astype(np.float32).tolist()
            network = TextNetwork(tensors)
            named = dict(zip(styles, prototypes, strict=True))
        except (KeyError, ValueError) as error:
            raise WeightsError(
                "weights_corrupt", f"{path} holds another network: {error}"[:300], field="weights"
            ) from error
        return cls(network, named, known_phrases(), {}, heat, (slope, offset))

    def for_styles(self, styles: Sequence[str]) -> PromptEncoder:
        """The encoder for a model that has these styles, at least one, in this order.

        What a prompt says of a trained style that the model lacks goes to the nearest that it has. A style that was
        not trained is known by its name.
        """
        prototypes = {
            style: self._prototypes[style] if style in self._prototypes else self._network.embed(style)[None]
            for style in styles
        }
        index = self._index
        for style in styles:
            if style not in self._prototypes:
                index = index.with_name(style)
        present = PromptEncoder(self._network, prototypes, index, {}, self._heat, self._certainty)
        stand_ins = {style: present.nearest(style)[0] for style in self._prototypes if style not in prototypes}
        return PromptEncoder(self._network, prototypes, index, stand_ins, self._heat, self._certainty)

    def with_style(self, name: str, texts: Iterable[str] = ()) -> PromptEncoder:
        """The encoder with one more style, last, or with a style of that name replaced.

        Args:
            name: as a prompt it means this style alone, whatever it meant before.
            texts: what else asks for it, in free text.
        """
        points = np.stack([self._network.embed(text) for text in (name, *texts)])
        stand_ins = {style: other for style, other in self._stand_ins.items() if style != name}
        return PromptEncoder(
            self._network,
            {**self._prototypes, name: points},
            self._index.with_name(name),
            stand_ins,
            self._heat,
            self._certainty,
        )

    def read(self, text: str, negative: str = "") -> Reading:
        """The mix of styles that ``text`` asks for, without those that ``negative`` asks for.

        An empty text is the default style. A text that is not understood is read as the nearest styles.
        """
        wanted, unwanted = self._read(text), self._unwanted(negative) if negative else {}
        if not unwanted:
            return wanted
        return Reading(wanted.understood, without(wanted.styles, unwanted, self.nearest(_strongest(wanted.styles))))

    def nearest(self, style: str) -> list[str]:
        """The encoder's other styles, the one most like ``style``, which need not be one of its own, first."""
        if style in PHRASES:
            points = [self._network.embed(name) for name in PHRASES[style].split(",")[:_NAMES]]
        else:
            points = list(self._prototypes[style])
        likeness = np.mean([self._scores(point) for point in points], axis=0)
        return [self.styles[at] for at in np.argsort(-likeness) if self.styles[at] != style]

    def _read(self, text: str) -> Reading:
        if (name := self._index.get(text)) is not None:
            shares, understood = self._exactly(name)
            return Reading(understood, shares)
        return self._mixed(segments(text, self._index))

    def _mixed(self, cut: Sequence[Segment]) -> Reading:
        """The default style where nothing is wanted."""
        wanted: dict[str, float] = {}
        unwanted: dict[str, float] = {}
        understood = total = 0.0
        named = any(segment.style is not None and not segment.negated for segment in cut)
        for segment in cut:
            if named and segment.style is None and not segment.weighted and not segment.negated:
                continue  # what to paint, where names say how
            styles, sure = self._segment(segment)
            if segment.negated:
                _add(unwanted, styles, 1.0 if sure >= _SURE else 0.0)
                continue
            # What is hardly understood does not outweigh what is, unless the weight is written.
            weight = segment.weight * (1.0 if segment.weighted else max(sure, 0.01))
            _add(wanted, styles, weight)
            understood, total = understood + weight * sure, total + weight
        if total <= 0.0:
            understood, total, wanted = 1.0, 1.0, {self._default(): 1.0}
        kept = {style: weight for style, weight in wanted.items() if weight > _LEAST * total}
        styles = {style: weight / sum(kept.values()) for style, weight in kept.items()}
        if any(unwanted.values()):
            styles = without(styles, unwanted, self.nearest(_strongest(styles)))
        return Reading(understood / total, styles)

    def _segment(self, segment: Segment) -> tuple[dict[str, float], float]:
        """The shares of one segment, and how well it is understood."""
        if segment.style is not None:
            return self._exactly(segment.style)
        point = self._network.embed(" ".join(segment.words))
        scores = self._scores(point)
        slope, offset = self._certainty
        sure = 1.0 / (1.0 + float(np.exp(-(slope * float(scores.max()) + offset))))
        odds = np.exp(self._heat * (scores - scores.max()))
        kept = {self.styles[at]: float(odds[at]) for at in np.argsort(-scores)[:_NEAREST] if odds[at] >= _HELD}
        total = sum(kept.values())
        return {style: share / total for style, share in kept.items()}, sure if point.any() else 0.0

    def _scores(self, point: Floats) -> Floats:
        """Likeness float32 [S] of a point to the styles: a soft maximum over the cosines with their points."""
        likeness = np.exp(_SHARPNESS * (self._points @ point))
        scores: Floats = np.log(np.add.reduceat(likeness, self._starts) / self._counts).astype(np.float32)
        return scores / np.float32(_SHARPNESS)

    def _unwanted(self, negative: str) -> dict[str, float]:
        """Nothing where the text names nothing. Negations change nothing: people write "no text" there, too."""
        if self._index.get(negative) is None:
            cut = [replace(segment, negated=False) for segment in segments(negative, self._index) if segment.weight > 0]
            reading = self._mixed(cut) if cut else Reading(0.0, {})
        else:
            reading = self._read(negative)
        return reading.styles if reading.understood >= _SURE else {}

    def _exactly(self, style: str) -> tuple[dict[str, float], float]:
        """A style that was named, or what stands in for it, which is not what was asked for."""
        other = self._stand_ins.get(style)
        return ({style: 1.0}, 1.0) if other is None else ({other: 1.0}, _STAND_IN)

    def _default(self) -> str:
        default = self._stand_ins.get(DEFAULT_STYLE, DEFAULT_STYLE)
        return default if default in self._prototypes else self.styles[0]


def without(weights: Mapping[str, float], unwanted: Mapping[str, float], nearest: Sequence[str]) -> dict[str, float]:
    """A mix with the unwanted styles taken out.

    Args:
        weights: styles and their shares.
        unwanted: styles and how much of each to take, at least 0.
        nearest: the other styles, the one most like the strongest of ``weights`` first.

    Returns:
        The differences, none below 0, made to sum to 1; the first of ``nearest`` that is not unwanted when nothing is
        left; ``weights`` themselves when there is none such.
    """
    left = {style: weight - unwanted.get(style, 0.0) for style, weight in weights.items()}
    left = {style: weight for style, weight in left.items() if weight > 1e-6}
    total = sum(left.values())
    if total > 0.0:
        return {style: weight / total for style, weight in left.items()}
    other = next((style for style in nearest if unwanted.get(style, 0.0) <= 0.0), None)
    return dict(weights) if other is None else {other: 1.0}


def _strongest(styles: Mapping[str, float]) -> str:
    return max(styles, key=lambda style: styles[style])


def _add(total: dict[str, float], styles: Mapping[str, float], weight: float) -> None:
    for style, share in styles.items():
        total[style] = total.get(style, 0.0) + weight * share
