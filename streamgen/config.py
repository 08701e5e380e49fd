"""Load-time choices: what is served, where, and on what. The only reader of the environment."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from streamgen.errors import ConfigError

__all__ = [
    "GuardSpec",
    "LoraSpec",
    "ModelSpec",
    "ServerConfig",
    "data_folder",
    "from_environment",
    "obs_password",
    "worker_environment",
]


@dataclass(frozen=True, slots=True)
class LoraSpec:
    """One LoRA to load.

    Args:
        name: what clients call it.
        source: a safetensors file, a folder or a hub id.
        weight: at the start.
        fused: added to the model's own weights: free, and nobody can change its weight. For the LoRAs that make a model
            need few steps.
    """

    name: str
    source: str
    weight: float = 1.0
    fused: bool = False

    @classmethod
    def parse(cls, text: str, *, fused: bool = False) -> LoraSpec:
        """Read ``[NAME=]SOURCE[@WEIGHT]``; the name is the source's last part when it is left out.

        Raises:
            ConfigError: ``invalid_arguments``.
        """
        head, at, tail = text.rpartition("@")
        source, weight = (head, tail) if at else (text, "1")
        name, equals, rest = source.partition("=")
        source = rest if equals else source
        name = name if equals else Path(source).name.removesuffix(".safetensors").replace(".", "_")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
            raise ConfigError("invalid_arguments", f"a LoRA's name has letters, digits, - and _, got {name!r}")
        try:
            return cls(name, source, float(weight), fused)
        except ValueError:
            raise ConfigError("invalid_arguments", f"a LoRA's weight must be a number, got {weight!r}") from None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What fixes every shape and weight of a loaded model.

    Args:
        family: a name in ``streamgen.models.MODELS``, or what ``--model`` named: folder, safetensors file or hub id.
        weights: a safetensors file instead of the family's own; None for that.
        width: default output width, pixels; 0 for the family's own.
        height: default output height, pixels; 0 likewise.
        dtype: ``auto``, ``float32``, ``bfloat16``, ``float16`` or, for the embedded model, ``int8``; auto is decided by
            the family or the backend.
        device: ``cpu``, ``cuda``, ``cuda:1``, ..., or ``auto``, which ``engine.build_engine`` resolves.
        max_batch: most rows in one network call; 0 lets the backend decide.
        max_steps: most denoising steps a client may ask for.
        vae: ``auto``, ``full``, or where another one is.
        sampler: ``auto``, or a name in ``streamgen.models.diffusion.SCHEDULERS``.
        loras: what is added to the network.
        embeddings: textual inversions, each a file, a folder or a hub id.
        clip_skip: layers of the text encoder left out at its end.
        controlnet: a folder or hub id; None for none.
        control: what the ControlNet is shown of a frame: a name in ``streamgen.models.control.PREPROCESSORS``, or
            ``depth``.
        control_model: the depth estimation model; None for none.
        ip_adapter: an IP-Adapter's safetensors file, here or as ``OWNER/REPO/PATH``; None for none.
        quantise: ``none``, ``int8``, ``fp8`` or ``int4``, for the weights of the network's linear layers.
        styles: the folder with styles that users made; None for none.
    """

    family: str = "tiny"
    weights: Path | None = None
    width: int = 0
    height: int = 0
    dtype: str = "auto"
    device: str = "cpu"
    max_batch: int = 0
    max_steps: int = 4
    vae: str = "auto"
    sampler: str = "auto"
    loras: tuple[LoraSpec, ...] = ()
    embeddings: tuple[str, ...] = ()
    clip_skip: int = 0
    controlnet: str | None = None
    control: str = "canny"
    control_model: str | None = None
    ip_adapter: str | None = None
    quantise: str = "none"
    styles: Path | None = None


@dataclass(frozen=True, slots=True)
class GuardSpec:
    """What judges prompts and pictures; see ``streamgen.effects.guards``.

    Args:
        filters: names of entry points, or text files of words, of what prompts have to pass.
        checks: names of entry points of what pictures have to pass.
        badge: whether pictures say that they are generated.
    """

    filters: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    badge: bool = False


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How the server runs. Every field can be given as ``STREAMGEN_<FIELD>`` in the environment; those that take
    several values are written there with commas.

    Args:
        host: address to bind; loopback unless asked otherwise.
        port: TCP port, 0 for a free one.
        model: family name, folder, safetensors file or hub id.
        also_models: further ones that a publisher may switch to.
        weights: safetensors file, None for the embedded weights.
        data: the folder of what users made, such as styles; ``from_environment`` fills it in. None for none.
        record: the folder that every session is recorded into; None to record those that are asked for, into ``data``.
        backend: ``auto`` or a name in ``streamgen.backends.BACKENDS``.
        device: ``auto``, ``cpu``, ``cuda``, ...
        devices: several of them, each with a process and the model of its own; () for ``device`` alone.
        dtype: see ``ModelSpec``, as all that follow up to ``quantise``.
        loras: as ``LoraSpec.parse`` reads them.
        fused_loras: likewise, fused.
        threads: compute threads of the worker; 0 leaves one core to codecs and the event loop.
        max_sessions: sessions at a time.
        min_fps: frames a second that every session is promised, or less where it asks for less itself; another session
            is let in as long as the device can keep that for all of them.
        max_queue: publishers that may wait for a place.
        idle_seconds: a session whose publisher sends nothing for so long is ended; 0 for never.
        max_session_seconds: how long a session may last; 0 for as long as it likes.
        token: what every client has to know; empty lets everybody on this machine in, and nobody else.
        former_tokens: those of before, so that what was signed with them stays good until it expires.
        insecure_public: whether ``host`` may be reached by others without a token.
        address_connections: from one address at once.
        address_requests: from one address a minute, not counting static files.
        address_failures: wrong tokens from one address a minute.
        tls_cert: PEM file with the certificate, and those that lead to its issuer behind it; None for plain HTTP.
        tls_key: PEM file with its key, without a password.
        tls_self_signed: whether the server makes a certificate of its own, kept in ``data``.
        origins: web origins whose pages may connect beside the server's own, such as ``https://example.org``.
        webrtc: whether WebRTC, WHIP and WHEP are served.
        webrtc_addresses: this machine's addresses that media travels through; () for the loopback while ``host`` is
            one, and for every interface otherwise.
        webrtc_ports: UDP ports to use, ``FIRST-LAST``; empty for any.
        webrtc_public_address: the address others reach this machine by, when it stands behind a one-to-one NAT.
        ice_servers: STUN and TURN URLs, such as ``turn:relay.example.org:3478``.
        turn_secret: the shared secret of a TURN server that takes short-lived credentials.
        turn_username: of a TURN server with a fixed user.
        turn_password: likewise.
        turn_seconds: how long a credential made from ``turn_secret`` lasts.
        prompt_filters: see ``GuardSpec``.
        output_checks: likewise.
        badge: likewise.
        publish: where sessions go out to, ``[SESSION=]URL`` each: rtmp, rtmps, srt, udp, rtsp, or a path. Without a
            name it is whichever session is open the longest.
        hang_timeout_s: a worker process that computes nothing and takes no command for so long is replaced, or for ten
            times the longest its loop has ever taken, if that is longer; 0 for never.
        metrics_port: where Prometheus finds ``/metrics``, and nothing else; 0 for ``port``.
        log_format: ``text`` or ``json``.
        traces: whether sessions and changes of settings become OpenTelemetry spans; ``from_environment`` says yes where
            ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set.
        resume_seconds: how long a session outlives its publisher's connection.
        ack_timeout_s: a client that acknowledges nothing for so long is no longer sent frames.
        send_timeout_s: a client that a send blocks on for so long is disconnected.
    """

    host: str = "127.0.0.1"
    port: int = 8188
    model: str = "tiny"
    also_models: tuple[str, ...] = ()
    weights: Path | None = None
    data: Path | None = None
    record: Path | None = None
    backend: str = "auto"
    device: str = "auto"
    devices: tuple[str, ...] = ()
    dtype: str = "auto"
    max_batch: int = 0
    vae: str = "auto"
    sampler: str = "auto"
    loras: tuple[str, ...] = ()
    fused_loras: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()
    clip_skip: int = 0
    controlnet: str = ""
    control: str = "canny"
    control_model: str = ""
    ip_adapter: str = ""
    quantise: str = "none"
    threads: int = 0
    max_sessions: int = 16
    min_fps: int = 5
    max_queue: int = 32
    idle_seconds: float = 0.0
    max_session_seconds: float = 0.0
    token: str = ""
    former_tokens: tuple[str, ...] = ()
    insecure_public: bool = False
    address_connections: int = 256
    address_requests: int = 600
    address_failures: int = 10
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_self_signed: bool = False
    origins: tuple[str, ...] = ()
    webrtc: bool = True
    webrtc_addresses: tuple[str, ...] = ()
    webrtc_ports: str = ""
    webrtc_public_address: str = ""
    ice_servers: tuple[str, ...] = ()
    turn_secret: str = ""
    turn_username: str = ""
    turn_password: str = ""
    turn_seconds: int = 3600
    prompt_filters: tuple[str, ...] = ()
    output_checks: tuple[str, ...] = ()
    badge: bool = False
    publish: tuple[str, ...] = ()
    hang_timeout_s: float = 30.0
    metrics_port: int = 0
    log_format: str = "text"
    traces: bool = False
    resume_seconds: float = 30.0
    ack_timeout_s: float = 4.0
    send_timeout_s: float = 1.0

    @property
    def guard(self) -> GuardSpec:
        """What judges prompts and pictures."""
        return GuardSpec(self.prompt_filters, self.output_checks, self.badge)

    @property
    def tls(self) -> bool:
        """Whether the server speaks HTTPS."""
        return self.tls_self_signed or self.tls_cert is not None or self.tls_key is not None

    @property
    def styles(self) -> Path | None:
        """The folder with styles that users made."""
        return None if self.data is None else self.data / "styles"

    @property
    def recordings(self) -> Path | None:
        """The folder that recordings go into."""
        return self.record or (None if self.data is None else self.data / "recordings")

    @property
    def presets(self) -> Path | None:
        """The file that presets are kept in."""
        return None if self.data is None else self.data / "presets.sqlite"

    @property
    def spec(self) -> ModelSpec:
        """The model that is loaded at the start."""
        return ModelSpec(
            family=self.model,
            weights=self.weights,
            device=self.device,
            dtype=self.dtype,
            max_batch=self.max_batch,
            vae=self.vae,
            sampler=self.sampler,
            loras=(
                *(LoraSpec.parse(text, fused=True) for text in self.fused_loras),
                *map(LoraSpec.parse, self.loras),
            ),
            embeddings=self.embeddings,
            clip_skip=self.clip_skip,
            controlnet=self.controlnet or None,
            control=self.control,
            control_model=self.control_model or None,
            ip_adapter=self.ip_adapter or None,
            quantise=self.quantise,
            styles=self.styles,
        )

    @property
    def specs(self) -> dict[str, ModelSpec]:
        """Every model that may be served, by name, the one loaded at the start first. What was said of LoRAs, VAE and
        the like holds for the first alone."""
        others = {
            name: ModelSpec(family=name, device=self.device, dtype=self.dtype, styles=self.styles)
            for name in self.also_models
        }
        return {self.model: self.spec} | {name: spec for name, spec in others.items() if name != self.model}


def from_environment(environ: Mapping[str, str] | None = None, **overrides: Any) -> ServerConfig:
    """Read ``STREAMGEN_*`` and apply ``overrides`` that are not None on top.

    Raises:
        ConfigError: ``invalid_environment`` naming the variable.
    """
    environ = os.environ if environ is None else environ
    config = ServerConfig(traces=bool(environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")))
    for entry in fields(ServerConfig):
        name = f"STREAMGEN_{entry.name.upper()}"
        if name in environ:
            config = replace(config, **{entry.name: _convert(name, environ[name], getattr(config, entry.name))})
    given = {"data": data_folder(environ), **overrides}
    return replace(config, **{name: value for name, value in given.items() if value is not None})


def data_folder(environ: Mapping[str, str] | None = None, platform: str = sys.platform) -> Path:
    """Where what users made is kept: ``STREAMGEN_DATA``, or streamgen's folder in the platform's usual place.

    Raises:
        ConfigError: ``no_home`` when the user has no home and nothing says where else to look.
    """
    try:
        return _data_folder(os.environ if environ is None else environ, platform)
    except RuntimeError as error:  # pathlib's word for it
        fact = "this user has no home folder: STREAMGEN_DATA says where to keep what users make"
        raise ConfigError("no_home", fact, field="data") from error


def _data_folder(environ: Mapping[str, str], platform: str) -> Path:
    if chosen := environ.get("STREAMGEN_DATA"):
        return Path(chosen).expanduser()
    home = Path.home()
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "streamgen"
    if platform == "darwin":
        return home / "Library" / "Application Support" / "streamgen"
    shared = Path(environ.get("XDG_DATA_HOME", ""))
    # A relative path is to be ignored, says the XDG Base Directory Specification.
    return (shared if shared.is_absolute() else home / ".local" / "share") / "streamgen"


def _convert(name: str, text: str, default: Any) -> Any:
    if default is None:
        return Path(text)
    kind = type(default)
    if kind is bool:
        return _truth(name, text)
    if kind is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        return kind(text)
    except ValueError:
        raise ConfigError("invalid_environment", f"{name} must be {kind.__name__}, got {text!r}", field=name) from None


def _truth(name: str, text: str) -> bool:
    values = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in values:
        raise ConfigError("invalid_environment", f"{name} must be 1 or 0, got {text!r}", field=name)
    return values[text.lower()]


def obs_password(environ: Mapping[str, str] | None = None) -> str:
    """The password of OBS's WebSocket server, ``OBS_WEBSOCKET_PASSWORD``; empty for none."""
    environ = os.environ if environ is None else environ
    return environ.get("OBS_WEBSOCKET_PASSWORD", "")


def worker_environment(threads: int) -> dict[str, str]:
    """Variables to set before torch is imported in a process that computes; an operator's own are respected.

    OpenMP threads that spin while waiting make a 31 ms network take 656 ms beside one busy neighbour; sleeping
    instead costs little. What Inductor compiles is kept for the next start; its own keys hold code, versions, options
    and device.
    """
    cache = Path.home() / ".cache" / "streamgen" / "inductor"
    return {
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        "OMP_NUM_THREADS": str(threads),
        "TORCHINDUCTOR_CACHE_DIR": os.environ.get("TORCHINDUCTOR_CACHE_DIR", str(cache)),
    }
