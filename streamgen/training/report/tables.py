"""A report as tables of text, which the page and the Markdown share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamgen.training.report.asked import verdicts

__all__ = ["Table", "markdown", "tables"]

Found = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """What stands under one heading.

    Args:
        title: the heading.
        note: a paragraph on how to read it; may be empty.
        header: of the columns.
        rows: as many cells each. Cells from the second on are figures.
    """

    title: str
    note: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def tables(results: Mapping[str, Found]) -> Iterator[Table]:
    """All tables of a report's ``results``. A part that is missing has a note that says why, and no rows."""
    yield _asked(results)
    for name, title in _TITLES.items():
        if name not in results:
            continue
        found = results[name]
        if "missing" in found:
            yield Table(title, f"Missing: {found['missing']}.", (), [])
        else:
            yield _BUILDERS[name](title, found)


def markdown(results: Mapping[str, Found], hardware: Mapping[str, Any]) -> str:
    """All tables, with what they were measured on."""
    lines = [f"Measured on: {hardware_line(hardware)}.", ""]
    for table in tables(results):
        lines += [f"### {table.title}", ""]
        lines += [table.note, ""] if table.note else []
        if table.rows:
            lines += [_line(table.header), _line(["---", *["--:"] * (len(table.header) - 1)])]
            lines += [*(_line(row) for row in table.rows), ""]
    return "\n".join(lines)


def hardware_line(hardware: Mapping[str, Any]) -> str:
    """What a report was measured on, in a few words."""
    gpu = f", {hardware['gpu']}" if hardware.get("gpu") else ""
    return f"{hardware['processor']}, {hardware['cores']} cores{gpu}, torch {hardware['torch']}"


def _asked(results: Mapping[str, Found]) -> Table:
    words = {True: "yes", False: "no", None: ""}
    rows = [(line.figure, line.asked, line.found, words[line.met]) for line in verdicts(results)]
    return Table("Asked and found", "Times are asked of two cores.", ("figure", "asked", "found", "met"), rows)


def _core(title: str, found: Found) -> Table:
    better = found["better_in_4_steps"]
    note = (
        f"Means over {len(found['photos'])} held-out pictures ({', '.join(found['photos'])}), judged by VGG16 features "
        "that no loss used. Style: distance of Gram matrices to the teacher's pictures; 0 is the teacher, 1 the plain "
        "photo. Structure: distance of deep features to the photo; 0 is the photo, about 2 any other photo. Distance: "
        "that of the features to those of the teacher's picture of the same photo, place by place; 0 is the teacher, 1 "
        "the plain photo. Change: mean difference to the photo at each strength, in percent of the range. Seeds: mean "
        "difference of the strokes between two seeds, in percent. Four steps are better than one in "
        f"{better['style']} styles by style, in {better['structure']} by structure (nearer the photo) and in "
        f"{better['distance']} by distance, of {better['of']} that have a teacher."
    )
    if found["without_teacher"]:
        note += f" No teacher at hand: {', '.join(found['without_teacher'])}."
    header = (
        *("style", "style, 1 step", "4 steps", "structure, 1 step", "4 steps", "teacher's", "distance, 1 step"),
        *("4 steps", "change at " + " / ".join(f"{s:g}" for s in found["strengths"]), "monotonic", "seeds"),
    )
    rows = [
        (
            name,
            *(_figure(row[key]) for key in _CORE),
            " / ".join(f"{100 * value:.1f}" for value in row["change"]),
            "yes" if row["monotonic"] else "no",
            f"{100 * row['seeds']:.1f}",
        )
        for name, row in found["styles"].items()
    ]
    mean = found["mean"]
    rows.append(("mean", *(_figure(mean.get(key)) for key in _CORE), "", "", f"{100 * mean.get('seeds', 0):.1f}"))
    return Table(title, note, header, rows)


def _temporal(title: str, found: Found) -> Table:
    note = (
        f"On {', '.join(found['clips'])}. Warp error: mean difference of each picture to the one before, moved by the "
        "optical flow (DIS) of the frames, where that shows the same thing in both, in percent of the range. The plain "
        f"frames themselves have {100 * found['frames_warp']:.2f}, which is what the flow misses: where a teacher is "
        "hardly above that there is nothing to halve. Flicker: standard deviation of the pictures of a still scene "
        f"with the noise of a sensor, in percent; the frames themselves have {100 * found['frames_flicker']:.2f}. The "
        "teacher draws each frame by itself. At equal style: the teacher's pictures mixed with the plain frames until "
        "their style score is the core's. Squared: the ratio of mean squares, as in the literature. A grid (tiles, "
        "dots, paper) that belongs to the screen does not move with the scene, and the flow counts that as an error of "
        f"teacher and core alike. The ratio is at most 0.5 in {_halved(found, 'warp')} styles for the warp error and "
        f"in {_halved(found, 'flicker')} for the flicker."
    )
    header = (
        *("style", "grid of the", "style score", "warp error", "teacher's", "at equal style", "ratio"),
        *("ratio at equal style", "squared", "flicker", "teacher's", "at equal style", "ratio", "ratio at equal style"),
    )
    rows = [(name, "screen" if row["anchored"] else "", *_steady_cells(row)) for name, row in found["styles"].items()]
    for name, key in (("mean", "mean"), ("mean, not anchored", "mean_free"), ("mean, anchored", "mean_anchored")):
        if found[key]:
            rows.append((name, "", *_steady_cells(found[key])))
    return Table(title, note, header, rows)


def _steady_cells(row: Found) -> Iterator[str]:
    for key in _TEMPORAL:
        value = row.get(key)
        share = key == "style" or "ratio" in key
        yield _figure(None if value is None else value if share else 100 * value)


def _halved(found: Found, figure: str) -> str:
    ratios = [row[f"{figure}_ratio"] for row in found["styles"].values() if row[f"{figure}_ratio"] is not None]
    return f"{sum(ratio <= 0.5 for ratio in ratios)} of {len(ratios)}"


def _speed(title: str, found: Found) -> Table:
    whole = found["whole_frame"]
    note = (
        f"Median of one call, {found['threads']} threads. Whole frame with matte and alpha at {whole['size']}: "
        f"{whole['step_ms']['p50']:.1f} ms, {whole['fps']:.1f} fps, with {whole['backend']} in {whole['dtype']}. "
        "Fidelity: PSNR against eager float32."
    )
    rows = [
        (
            f"{row['network']} {row['size']}",
            row["backend"],
            row["dtype"],
            "" if row["ms"] is None else f"{row['ms']['p50']:.1f}",
            "" if row["psnr_db"] is None else f"{row['psnr_db']:.1f}",
            row["note"],
        )
        for row in found["rows"]
    ]
    return Table(title, note, ("network", "backend", "precision", "ms", "fidelity, dB", "note"), rows)


def _list(title: str, found: Found) -> Table:
    rows = [(name, f"{value:.3f}") for name, value in found.items()]
    return Table(title, "", ("figure", "value"), rows)


def _figure(value: float | None) -> str:
    return "missing" if value is None else f"{value:.2f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


_CORE = ("style_1", "style_4", "structure_1", "structure_4", "structure_teacher", "distance_1", "distance_4")
_TEMPORAL = (
    *("style", "warp", "warp_teacher", "warp_equal", "warp_ratio", "warp_ratio_equal", "warp_ratio_squared"),
    *("flicker", "flicker_teacher", "flicker_equal", "flicker_ratio", "flicker_ratio_equal"),
)
_TITLES = {
    "core": "Styles",
    "temporal": "Steadiness",
    "prompts": "Prompts",
    "matte": "Matte",
    "upscaler": "Upscaler",
    "speed": "Speed",
    "weights": "Weights, MB",
}
_BUILDERS = {
    "core": _core,
    "temporal": _temporal,
    "prompts": _list,
    "matte": _list,
    "upscaler": _list,
    "speed": _speed,
    "weights": _list,
}
