"""What happens to the sessions that are recorded, told to the server event by event.

The worker alone knows which frames it took, at which tick of its clock, and what was in force: that, and nothing else,
decides every bit of a picture.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamgen import __version__
from streamgen.engine.messages import Logged
from streamgen.frames import Frame, Output, Pixels
from streamgen.settings import StreamSettings
from streamgen.timeline import (
    Began,
    Computed,
    Event,
    ModelIdentity,
    ModelInForce,
    ReferenceInForce,
    ReferencePicture,
    SettingsInForce,
    SizeInForce,
    StylesChanged,
)

if TYPE_CHECKING:
    from torch import Tensor

    from streamgen.engine.engine import Engine, Skipped

__all__ = ["Journal", "identify", "styles_digest", "weights_digest"]

_LOG = logging.getLogger(__name__)
_SAMPLED = 2**16
"""Numbers of a larger tensor that its digest is made of: to read all of a large model would hold up every frame."""


class Journal:
    """Reports on recorded sessions; calls about others do nothing.

    Args:
        send: takes every report.
    """

    def __init__(self, send: Callable[[Logged], None]) -> None:
        self._send = send
        self._sessions: dict[str, bool] = {}  # and whether the engine makes their frames itself

    def record(self, session: str, on: bool, engine: Engine, reference: Pixels | None) -> None:
        """Begin to report, from a state that does not depend on earlier frames, or end it."""
        self.closed(session)
        if not on:
            return
        entry = engine.entry(session)
        state = entry.state
        self._sessions[session] = state.settings.source == "prompt"
        state.forget_frames()
        state.arrive()
        self._log(
            session,
            Began(
                since_s=entry.since_s,
                rev=state.rev,
                settings=state.settings,
                format=state.format,
                reference=ReferencePicture.of(reference),
                model=identify(engine),
            ),
        )

    def closed(self, session: str) -> None:
        """The session is gone."""
        self._sessions.pop(session, None)

    def settings(self, session: str, settings: StreamSettings, rev: int, now_s: float) -> None:
        """Settings are in force."""
        if session in self._sessions:
            self._sessions[session] = settings.source == "prompt"
            self._log(session, SettingsInForce(at_s=now_s, rev=rev, settings=settings))

    def resized(self, session: str, engine: Engine) -> None:
        """Another format is in force."""
        if session in self._sessions:
            self._log(session, SizeInForce(format=engine.entry(session).state.format))

    def referred(self, session: str, reference: Pixels | None) -> None:
        """Another reference picture is in force."""
        if session in self._sessions:
            self._log(session, ReferenceInForce(reference=ReferencePicture.of(reference)))

    def switched(self, engine: Engine) -> None:
        """Another model serves everybody."""
        if self._sessions:
            self._log_all(ModelInForce(model=identify(engine)))

    def restyled(self, engine: Engine, now_s: float) -> None:
        """The model knows other styles."""
        if self._sessions:
            self._log_all(StylesChanged(at_s=now_s, styles=styles_digest(engine.model.spec.styles)))

    def computed(
        self, batch: Sequence[tuple[str, Frame]], made: Sequence[tuple[str, Output | Skipped]], at_s: float
    ) -> None:
        """A step took these frames, and this became of them."""
        for (session, frame), (_, result) in zip(batch, made, strict=True):
            if session in self._sessions:
                outcome = "made" if isinstance(result, Output) else result.reason
                warm_up = isinstance(result, Output) and result.warm_up
                self._took(session, frame, at_s, outcome=outcome, together=len(batch), warm_up=warm_up)

    def failed(self, session: str, frame: Frame, at_s: float) -> None:
        """A step with this frame alone failed."""
        if session in self._sessions:
            self._took(session, frame, at_s, outcome="failed")

    def _took(self, session: str, frame: Frame, at_s: float, **fields: Any) -> None:
        fields |= {"seq": frame.seq, "captured_us": frame.captured_us, "received_s": frame.received_s}
        self._log(session, Computed(at_s=at_s, dreamed=self._sessions[session], **fields))

    def _log(self, session: str, event: Event) -> None:
        self._send(Logged(session, event))

    def _log_all(self, event: Event) -> None:
        for session in self._sessions:
            self._send(Logged(session, event))


def identify(engine: Engine) -> ModelIdentity:
    """The model that ``engine`` holds, and how it runs."""
    import torch

    spec, report = engine.model.spec, engine.report
    return ModelIdentity(
        spec={name: str(value) if isinstance(value, Path) else value for name, value in asdict(spec).items()},
        backend=report.chosen,
        dtype=report.dtype,
        threads=torch.get_num_threads(),
        weights=weights_digest(engine),
        styles=styles_digest(spec.styles),
        streamgen=__version__,
        torch=torch.__version__,
    )


def weights_digest(engine: Engine) -> str:
    """SHA-256, in hexadecimal, over names, shapes and numbers of the model's networks; of large tensors over evenly
    spaced numbers. Empty where a network does not give its numbers away, as some quantised ones do not."""
    import torch

    model = engine.model
    digest = hashlib.sha256()
    try:
        with engine.exclusive, torch.inference_mode():
            for part, network in (("encode", model.encoder), ("denoise", model.network), ("decode", model.decoder)):
                for name, tensor in () if network is None else network.state_dict().items():
                    digest.update(f"{part}.{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
                    digest.update(_numbers(tensor))
    except (RuntimeError, NotImplementedError, TypeError) as error:
        _LOG.warning("the weights cannot be told from others: %s", error)
        return ""
    return digest.hexdigest()


def _numbers(tensor: Tensor) -> bytes:
    import torch

    flat = tensor.detach().reshape(-1)
    if len(flat) > _SAMPLED:
        flat = flat[torch.linspace(0, len(flat) - 1, _SAMPLED, dtype=torch.float64).long().to(flat.device)]
    return flat.cpu().contiguous().view(torch.uint8).numpy().tobytes()


def styles_digest(folder: Path | None) -> str:
    """SHA-256 over the files of a folder of styles; empty where there are none."""
    files = sorted(folder.glob("*.safetensors")) if folder is not None and folder.is_dir() else []
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest() if files else ""
