"""The figures that were asked for, and what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ASKED", "Asked", "figures"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One figure.

    Args:
        part: of the measurements that it comes from.
        what: in words.
        most: what it may be at most.
        unit: of both.
        find: reads it from the part's row; the worst where there are several.
    """

    part: str
    what: str
    most: float
    unit: str
    find: Callable[[Mapping[str, Any]], float | None]


def _worst(rows: list[Any], *path: str) -> float:
    values = []
    for row in rows:
        for name in path:
            row = row[name]
        values.append(float("inf") if row is None else float(row))
    return max(values)


def _freeze(part: Mapping[str, Any]) -> float:
    named = [freezes for row in part["rows"] for name, freezes in row["freezes_ms"].items() if "retransmission" in name]
    return float(max(max(freezes) for freezes in named))


def _left_over(part: Mapping[str, Any]) -> float:
    return float(sum(max(0, count) for count in part["left_over"].values()))


def _untyped(part: Mapping[str, Any]) -> float:
    refused = sum(answer.endswith((" untyped", " answered")) for answer in part["refused"].values())
    return float(refused + sum(len(row["mutated"]["untyped"]) for row in part["rounds"]))


ASKED = (
    Asked(
        "latency",
        "added by the server, 512x512 at 30 fps, p50",
        15,
        "ms",
        lambda part: _worst(part["rows"], "through_the_server", "added_ms", "p50"),
    ),
    Asked(
        "latency",
        "the same, p95",
        30,
        "ms",
        lambda part: _worst(part["rows"], "through_the_server", "added_ms", "p95"),
    ),
    Asked("loss", "freeze after a packet and its retransmission were lost", 300, "ms", _freeze),
    Asked(
        "path",
        "longest freeze with 5% loss, 50 ms jitter, reordering, both ways",
        500,
        "ms",
        lambda part: _worst(part["rows"][:1], "longest_freeze_ms"),
    ),
    Asked(
        "path",
        "latency normal again after that",
        2,
        "s",
        lambda part: _worst(part["rows"][:1], "normal_again_after_s"),
    ),
    Asked(
        "click", "from the click to the first picture, worst", 1000, "ms", lambda part: part["first_picture_ms"]["most"]
    ),
    Asked(
        "glass",
        "glass to glass in Chromium, 256x256, p50",
        95,
        "ms",
        lambda part: _worst(part["rows"], "glass_to_glass_ms", "p50"),
    ),
    Asked("glass", "the same, p95", 160, "ms", lambda part: _worst(part["rows"], "glass_to_glass_ms", "p95")),
    Asked("hostile", "answers without a code to offers that are none", 0, "", _untyped),
    Asked("hostile", "connections, tasks, threads, sessions, sockets left over", 0, "", _left_over),
    Asked(
        "overlay", "cuts that the overlay did not come back from", 0, "", lambda part: part["cuts"] - part["came_back"]
    ),
    Asked("overlay", "slowest recovery of the overlay", 3, "s", lambda part: part["slowest_s"]),
)


def figures(results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What was asked of the parts that were measured, and whether they keep to it."""
    for asked in ASKED:
        part = results.get(asked.part)
        if part is None or "error" in part:
            continue
        found = asked.find(part)
        yield {
            "figure": asked.what,
            "asked": f"{asked.most:g} {asked.unit}".strip(),
            "found": found,
            "within": found is not None and found <= asked.most,
        }
