"""What is measured of each network, on data that none of them has learned from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamgen.errors import StreamgenError

__all__ = ["PARTS", "Found", "Request", "measure"]

Found = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What to judge, by what, and how thoroughly.

    Args:
        data: folder with photos.csv, photos/, clips/, teachers/ and features/.
        out: where contact sheets go.
        weights: of the core.
        painters: file of the core's teachers taught by paintings; may be missing.
        quick: about two minutes on two cores, instead of ten, for all parts.
    """

    data: Path
    out: Path
    weights: Path
    painters: Path
    quick: bool

    def choose(self, quick: int, full: int) -> int:
        """The number for this thoroughness."""
        return quick if self.quick else full


def measure(part: Callable[[], Found]) -> Found:
    """What a part finds; ``{"missing": reason}`` when its data, weights or packages are not here."""
    try:
        return part()
    except StreamgenError as error:
        return {"missing": error.message}
    except FileNotFoundError as error:
        return {"missing": f"no {error.filename}"}
    except ModuleNotFoundError as error:
        return {"missing": f"the package {error.name} is not installed"}


def _core(request: Request) -> Found:
    from streamgen.training.core.evaluate import figures
    from streamgen.training.core.exam import Exam
    from streamgen.training.core.held_out import held_out_views
    from streamgen.training.report.sheets import CoreSheets

    exam = Exam.open(request.data, request.weights, request.painters)
    views = held_out_views(request.data, request.choose(4, 12))
    sheets = CoreSheets(request.out, views)
    found = figures(exam, views, sheets.add)
    return found | {"sheets": sheets.finish()}


def _temporal(request: Request) -> Found:
    from streamgen.training.core.exam import Exam
    from streamgen.training.core.steadiness import steadiness

    exam = Exam.open(request.data, request.weights, request.painters)
    clips, pairs, draws = ((1, 6, 3), (3, 8, 4))[request.choose(0, 1)]
    return steadiness(exam, request.data, clips, pairs, draws)


def _prompts(request: Request) -> Found:
    from streamgen.training.prompts.evaluate import figures

    return dict(figures(request.data))


def _matte(request: Request) -> Found:
    from streamgen.models.matte import load_matte
    from streamgen.training.matte.evaluate import figures

    return dict(figures(request.data, load_matte(), every=request.choose(8, 2)))


def _upscaler(request: Request) -> Found:
    from streamgen.training.upscaler.evaluate import figures

    return dict(figures(request.data, photos=6 if request.quick else None))


def _weights(request: Request) -> Found:
    """Megabytes (10^6 bytes) of what is packaged, by network, and all together."""
    from streamgen.models.tiny import TinyModel

    files = [file for file in TinyModel.default_weights.parent.iterdir() if file.suffix != ".md"]
    networks = {"core": "tiny.", "prompt encoder": "prompts.", "matte": "matte.", "upscaler": "upscaler."}
    sizes = {
        name: _megabytes([file for file in files if file.name.startswith(start)]) for name, start in networks.items()
    }
    return sizes | {"total": _megabytes(files)}


def _megabytes(files: list[Path]) -> float:
    return sum(file.stat().st_size for file in files) / 1e6


PARTS: dict[str, Callable[[Request], Found]] = {
    "core": _core,
    "temporal": _temporal,
    "prompts": _prompts,
    "matte": _matte,
    "upscaler": _upscaler,
    "weights": _weights,
}
"""Name to a function that measures it; the packages that one needs are imported when it is called."""
