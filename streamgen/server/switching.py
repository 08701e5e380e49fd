"""Another model for the whole server, when a publisher asks for one, or other styles for the one there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from streamgen.config import ModelSpec
from streamgen.errors import ConfigError, SessionError, StreamgenError
from streamgen.protocol import ErrorMessage, Restyled, Switch, Switched
from streamgen.server.outbox import Outbox
from streamgen.server.session import Session
from streamgen.server.worker_link import WorkerInfo, WorkerLink

__all__ = ["ModelSwitch"]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who asked for the model that is being loaded."""

    outbox: Outbox
    ref: str | None


class ModelSwitch:
    """Passes the wish for another model on to the worker, and its answer to everybody.

    What a client may name are the models and LoRAs that the operator named: never a file or an address.

    Args:
        models: those that may be named.
        worker: loads them.
        sessions: all there are.
    """

    def __init__(self, models: Mapping[str, ModelSpec], worker: WorkerLink, sessions: Iterable[Session]) -> None:
        self._models = models
        self._worker = worker
        self._sessions = sessions
        self._asked: _Asked | None = None

    def begin(self, switch: Switch, outbox: Outbox) -> None:
        """Have a model loaded; the answer goes to ``outbox``.

        Raises:
            ConfigError: ``unknown_model`` or ``unknown_lora``.
            SessionError: ``switch_pending`` while another one is being loaded.
            WorkerError: ``worker_not_ready``.
        """
        self._check(switch)
        if self._asked is not None:
            raise SessionError("switch_pending", "another model is being loaded", field="model", retryable=True)
        self._worker.switch(switch.model, switch.loras, self)
        self._asked = _Asked(outbox, switch.ref)

    def _check(self, switch: Switch) -> None:
        spec = self._models.get(switch.model)
        if spec is None:
            known = ", ".join(self._models)
            raise ConfigError(
                "unknown_model", f"there is no model {switch.model[:100]!r}; there are: {known}", field="model"
            )
        # Fused LoRAs are part of the model, and cannot be left out or put in.
        loras = [lora.name for lora in spec.loras if not lora.fused]
        for name in switch.loras or ():
            if name not in loras:
                known = ", ".join(loras) or "none"
                raise ConfigError("unknown_lora", f"this model has no LoRA {name!r}; there are: {known}", field="loras")

    # ----------------------------------------------------------------------------------------------- from the worker

    def on_switched(self, info: WorkerInfo) -> None:
        asked, self._asked = self._asked, None
        switched = Switched(
            model=info.model,
            styles=info.styles,
            unused=info.unused,
            loras=info.loras,
            reference=info.takes_reference,
            backend=info.backend,
            device=info.device,
        )
        for session in self._sessions:
            for subscriber in session.subscribers():
                ref = asked.ref if asked is not None and subscriber is asked.outbox else None
                subscriber.tell(switched.model_copy(update={"ref": ref}))
            session.fit(info)

    def on_restyled(self, styles: tuple[str, ...]) -> None:
        for session in self._sessions:
            for subscriber in session.subscribers():
                subscriber.tell(Restyled(styles=styles))

    def on_switch_failed(self, error: StreamgenError) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.outbox.tell(ErrorMessage.of(error, asked.ref))
