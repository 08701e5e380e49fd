"""Choosing a backend and a precision: by name, or by measuring what is here for about a second."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from streamgen.backends import BACKENDS, load_backend
from streamgen.backends.base import Backend, quantised_variant
from streamgen.config import ModelSpec
from streamgen.engine.executables import example_inputs
from streamgen.engine.fidelity import fidelity_db
from streamgen.errors import BackendUnavailable
from streamgen.models.base import Model

__all__ = ["LEAST_PSNR_DB", "BackendReport", "Candidate", "choose_backend", "proven_backend"]

_LOG = logging.getLogger(__name__)
LEAST_PSNR_DB = 30.0
"""What rounding may cost a picture before a faster precision is no longer chosen by itself."""

_BUDGET_S = 0.15
_SIDE = 256
_ON_CUDA = ("cuda-graph", "eager")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One row of the table: a backend at a precision.

    Args:
        backend: name in ``BACKENDS``.
        dtype: precision; empty when the backend was not measured.
        ms: median milliseconds of one network call at 256x256, batch 1; None when not measured.
        note: why it was not measured, or empty.
        psnr_db: how close its pictures are to float32's; None when it is float32, or was not compared.
    """

    backend: str
    dtype: str
    ms: float | None
    note: str = ""
    psnr_db: float | None = None

    @property
    def faithful(self) -> bool:
        """Whether its pictures are close enough to be chosen without being asked for."""
        return self.psnr_db is None or self.psnr_db >= LEAST_PSNR_DB


@dataclass(frozen=True, slots=True)
class BackendReport:
    """What was chosen, why, and from what."""

    chosen: str
    dtype: str
    reason: str
    candidates: tuple[Candidate, ...] = ()

    @property
    def ms(self) -> float | None:
        """Of one network call at 256x256 with what was chosen; None where that was not measured."""
        rows = (row for row in self.candidates if (row.backend, row.dtype) == (self.chosen, self.dtype))
        return next((row.ms for row in rows if row.ms), None)

    def table(self) -> str:
        """The candidates as lines of text, fastest first."""
        rows = sorted(self.candidates, key=lambda row: (row.ms is None, row.ms))
        return "\n".join(
            f"  {row.backend:11s} {row.dtype:9s} "
            + (f"{row.ms:7.1f} ms{_fidelity(row)}" if row.ms is not None else f"not measured: {row.note}")
            for row in rows
        )


def _fidelity(row: Candidate) -> str:
    if row.psnr_db is None:
        return ""
    return f", {row.psnr_db:.1f} dB of float32" + ("" if row.faithful else f": below {LEAST_PSNR_DB:.0f}, not taken")


def choose_backend(model: Model, name: str, threads: int) -> tuple[Backend, BackendReport]:
    """Pick the backend ``name``, or with ``auto`` the fastest one, at the model's dtype or the fastest one.

    A precision that nobody asked for is taken only if its pictures stay within ``LEAST_PSNR_DB`` of float32's.

    Raises:
        BackendUnavailable: ``unknown_backend``, or ``backend_unavailable`` with the reason. A backend that was named
            is never replaced by another.
    """
    device, wanted = model.spec.device, model.spec.dtype
    if name != "auto":
        reason = load_backend(name).unavailable(device)
        if reason is not None:
            raise BackendUnavailable("backend_unavailable", f"backend {name} cannot run: {reason}", field="backend")
    preferred = model.backends or (_ON_CUDA if device.startswith("cuda") else None)
    if name == "auto" and preferred:
        return _preferred(model, preferred, threads)
    names = list(BACKENDS) if name == "auto" else [name]
    measured: dict[tuple[str, str], Backend] = {}
    rows: list[Candidate] = []
    for each in names:
        rows += _measure_one(model, each, wanted, threads, measured, named=name != "auto")
    rows = sorted(rows, key=lambda row: (row.ms is None, row.ms))
    at = _first_faithful(model, rows, measured, asked=wanted != "auto")
    if at is None:
        fact = f"no backend here runs this model in {wanted}"
        if wanted == "auto":
            table = BackendReport("", "", "", tuple(rows)).table()
            fact = f"nothing here stays within {LEAST_PSNR_DB:.0f} dB of float32 by itself, name a --dtype:\n{table}"
        raise BackendUnavailable("backend_unavailable", fact, field="dtype")
    fastest = rows[at]
    reason = f"the fastest of {len(measured)} measured at {_SIDE}x{_SIDE}" if len(measured) > 1 else "asked for"
    report = BackendReport(fastest.backend, fastest.dtype, reason, tuple(rows))
    _LOG.info("backends at %dx%d, %d threads:\n%s", _SIDE, _SIDE, threads, report.table())
    _LOG.info("using %s in %s: %s", report.chosen, report.dtype, report.reason)
    return measured[fastest.backend, fastest.dtype], report


def proven_backend(model: Model, name: str, threads: int) -> tuple[Backend, BackendReport]:
    """The backend ``name`` at the model's dtype, which ran here before.

    Raises:
        BackendUnavailable: ``unknown_backend``.
    """
    dtype = model.spec.dtype if model.backends is None else model.dtype
    return load_backend(name)(model.spec.device, dtype, threads), BackendReport(name, dtype, "as before")


def _first_faithful(
    model: Model, rows: list[Candidate], measured: dict[tuple[str, str], Backend], *, asked: bool
) -> int | None:
    """The index of the fastest row whose pictures are close enough, or of the fastest that was ``asked`` for; what was
    found of those before it is noted in ``rows``, which are fastest first."""
    for at, row in enumerate(rows):
        if row.ms is None:
            return None
        if row.dtype != "float32" and model.backends is None:
            rows[at] = replace(row, psnr_db=fidelity_db(model, measured[row.backend, row.dtype], LEAST_PSNR_DB))
        if rows[at].faithful or asked:
            return at
    return None


def _preferred(model: Model, names: Sequence[str], threads: int) -> tuple[Backend, BackendReport]:
    """The first backend that can run, where measuring them all would take minutes."""
    device = model.spec.device
    rows: list[Candidate] = []
    for name in names:
        kind = load_backend(name)
        reason = kind.unavailable(device) or _no_variant(kind, model)
        if reason is None:
            dtype = model.dtype if model.backends else _dtype(kind, model.spec)
            report = BackendReport(name, dtype, f"the first of {', '.join(names)} that can run here", tuple(rows))
            _LOG.info("using %s in %s: %s\n%s", name, dtype, report.reason, report.table())
            return kind(device, dtype, threads), report
        rows.append(Candidate(name, "", None, reason))
    raise BackendUnavailable(
        "backend_unavailable", f"no backend can run here:\n{BackendReport('', '', '', tuple(rows)).table()}"
    )


def _no_variant(kind: type[Backend], model: Model) -> str | None:
    """Why int8, where it was asked for, cannot be had; None where it can, or was not asked for."""
    if model.spec.dtype != "int8" or (kind.runs_quantised and quantised_variant(model.network)):
        return None
    return "it has no int8 variant of this model"


def _dtype(kind: type[Backend], spec: ModelSpec) -> str:
    """What was asked for, or the fastest that the backend has for the device."""
    return kind.dtypes(spec.device)[-1] if spec.dtype == "auto" else spec.dtype


def _measure_one(
    model: Model, name: str, wanted: str, threads: int, measured: dict[tuple[str, str], Backend], *, named: bool
) -> list[Candidate]:
    """Rows of one backend; what could be measured is added to ``measured``."""
    kind = load_backend(name)
    device = model.spec.device
    unavailable = kind.unavailable(device)
    if unavailable is not None:
        return [Candidate(name, "", None, unavailable)]
    if not named and not kind.quick_to_compile:
        return [Candidate(name, "", None, f"compiles for many seconds; ask for it with --backend {name}")]
    if model.backends is not None:  # a large model: its weights are at the precision they run at
        measured[name, model.dtype] = kind(device, model.dtype, threads)
        return [Candidate(name, model.dtype, 0.0, "asked for, not measured")]
    if missing := _no_variant(kind, model):
        return [Candidate(name, "int8", None, missing)]
    small = ("int8",) if kind.runs_quantised and quantised_variant(model.network) else ()
    dtypes = (*kind.dtypes(device), *small) if wanted == "auto" else (wanted,)
    if not kind.quick_to_compile:
        dtypes = dtypes[-1:]  # compiling once more only to compare would double a long wait
    rows = []
    for dtype in dtypes:
        backend = kind(device, dtype, threads)
        measured[name, dtype] = backend
        rows.append(Candidate(name, dtype, _milliseconds(model, backend)))
    return rows


def _milliseconds(model: Model, backend: Backend) -> float:
    example = example_inputs(model, 1, _SIDE, _SIDE)
    call = backend.compile(model.network, example)
    call(*example)
    times: list[float] = []
    while len(times) < 3 or sum(times) < _BUDGET_S:
        began = time.perf_counter()
        call(*example)
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)
