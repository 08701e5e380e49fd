"""Load-time choices: what is served, where, and on what. The only reader of the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from streamgen.errors import ConfigError

__all__ = ["ModelSpec", "ServerConfig", "from_environment", "worker_environment"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What fixes every shape and weight of a loaded model.

    Args:
        family: a name in ``streamgen.models.MODELS``.
        weights: a safetensors file; None for the family's own.
        width: default output width, pixels.
        height: default output height, pixels.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``; auto is decided by the backend.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...
        max_batch: most rows in one network call; 0 lets the backend decide.
        max_steps: most denoising steps a client may ask for.
    """

    family: str = "tiny"
    weights: Path | None = None
    width: int = 256
    height: int = 256
    dtype: str = "auto"
    device: str = "cpu"
    max_batch: int = 0
    max_steps: int = 4


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How the server runs. Every field can be given as ``STREAMGEN_<FIELD>`` in the environment.

    Args:
        host: address to bind; loopback unless asked otherwise.
        port: TCP port, 0 for a free one.
        model: family name or alias.
        weights: safetensors file, None for the embedded weights.
        backend: ``auto`` or a name in ``streamgen.backends.BACKENDS``.
        device: ``cpu``, ``cuda``, ...
        threads: compute threads of the worker; 0 leaves one core to codecs and the event loop.
        max_sessions: sessions at a time.
        resume_seconds: how long a session outlives its publisher's connection.
        ack_timeout_s: a client that acknowledges nothing for so long is no longer sent frames.
        send_timeout_s: a client that a send blocks on for so long is disconnected.
    """

    host: str = "127.0.0.1"
    port: int = 8188
    model: str = "tiny"
    weights: Path | None = None
    backend: str = "auto"
    device: str = "cpu"
    threads: int = 0
    max_sessions: int = 16
    resume_seconds: float = 30.0
    ack_timeout_s: float = 4.0
    send_timeout_s: float = 1.0

    @property
    def spec(self) -> ModelSpec:
        """The model part of this configuration."""
        return ModelSpec(family=self.model, weights=self.weights, device=self.device)


def from_environment(environ: Mapping[str, str] | None = None, **overrides: Any) -> ServerConfig:
    """Read ``STREAMGEN_*`` and apply ``overrides`` that are not None on top.

    Raises:
        ConfigError: ``invalid_environment`` naming the variable.
    """
    environ = os.environ if environ is None else environ
    config = ServerConfig()
    for entry in fields(ServerConfig):
        name = f"STREAMGEN_{entry.name.upper()}"
        if name in environ:
            config = replace(config, **{entry.name: _convert(name, environ[name], getattr(config, entry.name))})
    return replace(config, **{name: value for name, value in overrides.items() if value is not None})


def _convert(name: str, text: str, default: Any) -> Any:
    if default is None:
        return Path(text)
    kind = type(default)
    try:
        return kind(text)
    except ValueError:
        raise ConfigError("invalid_environment", f"{name} must be {kind.__name__}, got {text!r}", field=name) from None


def worker_environment(threads: int) -> dict[str, str]:
    """Variables to set before torch is imported in a process that computes.

    OpenMP threads that spin while waiting make a 31 ms network take 656 ms beside one busy neighbour; sleeping
    instead costs little. An operator's own OMP_WAIT_POLICY is respected.
    """
    return {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"), "OMP_NUM_THREADS": str(threads)}
