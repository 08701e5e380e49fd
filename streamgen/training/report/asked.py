"""What was asked of the embedded models, beside what was found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ASKED", "Asked", "Verdict", "verdicts"]

Found = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing that was asked.

    Args:
        figure: in words.
        part: whose findings tell.
        value: the figure in them.
        limit: to hold to.
        at_most: True when smaller is better.
        unit: behind the figure, or empty.
        digits: behind the point.
    """

    figure: str
    part: str
    value: Callable[[Found], float]
    limit: float
    at_most: bool
    unit: str = ""
    digits: int = 2

    def verdict(self, results: Mapping[str, Found]) -> Verdict:
        """Judge a report's results."""
        asked = f"{'at most' if self.at_most else 'at least'} {self.limit:g}{self.unit}"
        found = results.get(self.part)
        if found is None:
            return Verdict(self.figure, asked, "not measured", None)
        if "missing" in found:
            return Verdict(self.figure, asked, f"missing: {found['missing']}", None)
        try:
            value = float(self.value(found))
        except (KeyError, TypeError):  # a part may lack figures, such as those of styles without a teacher
            return Verdict(self.figure, asked, "not measured", None)
        met = value <= self.limit if self.at_most else value >= self.limit
        return Verdict(self.figure, asked, f"{value:.{self.digits}f}{self.unit}", met)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A line of the table; ``met`` is None when nothing was measured."""

    figure: str
    asked: str
    found: str
    met: bool | None


def verdicts(results: Mapping[str, Found]) -> list[Verdict]:
    """Everything that was asked, in the order of `ASKED`."""
    return [asked.verdict(results) for asked in ASKED]


def _best_ms(network: str, size: str) -> Callable[[Found], float]:
    return lambda found: float(found["best"][f"{network} {size}"]["ms"])


def _worth_of_four(name: str) -> Callable[[Found], float]:
    return lambda found: float(found["mean"][f"{name}_4"]) / float(found["mean"][f"{name}_1"])


def _over(ours: str, theirs: str) -> Callable[[Found], float]:
    """Of the means over styles: a teacher that is nearly as steady as the frames themselves leaves nothing to halve."""
    return lambda found: float(found["mean"][ours]) / float(found["mean"][theirs])


ASKED = (
    Asked("styles", "core", lambda f: len(f["styles"]) + len(f["unknown"]), 20, False, digits=0),
    Asked("core, 256 px, one step, best backend", "speed", _best_ms("core", "256x256"), 12, True, " ms", 1),
    Asked("core, 512 px, one step, best backend", "speed", _best_ms("core", "512x512"), 45, True, " ms", 1),
    Asked("whole frame with matte and alpha, 512 px", "speed", lambda f: f["whole_frame"]["fps"], 15, False, " fps", 1),
    Asked(
        "fidelity of the best backend, 256 px",
        "speed",
        lambda f: f["best"]["core 256x256"]["psnr_db"],
        30,
        False,
        " dB",
        1,
    ),
    Asked("style, four steps over one (mean)", "core", _worth_of_four("style"), 1, True, digits=3),
    Asked("structure, four steps over one (mean)", "core", _worth_of_four("structure"), 1, True, digits=3),
    Asked(
        "styles in which more strength is more change",
        "core",
        lambda f: sum(row["monotonic"] for row in f["styles"].values()) / len(f["styles"]),
        1,
        False,
    ),
    Asked("warp error over the teachers', all styles", "temporal", _over("warp", "warp_teacher"), 0.5, True),
    Asked("warp error over the teachers', at equal style", "temporal", _over("warp", "warp_equal"), 0.5, True),
    Asked("warp error over the teachers', mean of ratios", "temporal", lambda f: f["mean"]["warp_ratio"], 0.5, True),
    Asked("flicker over the teachers', all styles", "temporal", _over("flicker", "flicker_teacher"), 0.5, True),
    Asked("flicker over the teachers', at equal style", "temporal", _over("flicker", "flicker_equal"), 0.5, True),
    Asked("flicker over the teachers', mean of ratios", "temporal", lambda f: f["mean"]["flicker_ratio"], 0.5, True),
    Asked("held-out paraphrases on the right style", "prompts", lambda f: 100 * f["accuracy_test"], 85, False, "%", 1),
    Asked("matte, overlap with the teacher on clips", "matte", lambda f: f["iou clips"], 0.92, False, digits=3),
    Asked("matte, 256 px, best backend", "speed", _best_ms("matte", "256x256"), 6, True, " ms", 1),
    Asked("upscaler over bicubic, photos", "upscaler", lambda f: f["photos_gain_db"], 1.5, False, " dB"),
    Asked("upscaler, 512 to 1024 px, best backend", "speed", _best_ms("upscaler", "512x512"), 60, True, " ms", 1),
    Asked("weights of the prompt encoder", "weights", lambda f: f["prompt encoder"], 4, True, " MB"),
    Asked("weights of the matte", "weights", lambda f: f["matte"], 1, True, " MB"),
    Asked("weights of the upscaler", "weights", lambda f: f["upscaler"], 1, True, " MB"),
    Asked("all weights", "weights", lambda f: f["total"], 32, True, " MB"),
)
"""Times are asked of two cores."""
