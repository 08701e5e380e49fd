"""Every failure streamgen reports on purpose.

::

    StreamgenError              code, message, field, retryable
    ├── ConfigError             a command line, environment or load-time choice that cannot be used
    │   ├── BackendUnavailable  the chosen backend cannot run here; the message says why
    │   ├── WeightsError        a weights file is missing, corrupt or of another format
    │   └── PortInUse           another program listens on the address
    ├── ProtocolError           a message or frame header that is not streamgen.v1
    ├── AccessError             a client that may not come in
    ├── SettingsError           a setting that is unknown or out of range
    ├── CodecError              pixels that cannot be decoded, or are not what the header declared
    ├── SessionError            a session that does not exist, is taken, or is full
    ├── MediaError              a video or image file that cannot be read or written
    └── WorkerError             the process that owns the device failed

The wire form of an error is ``{"type": "error", "code", "message", "retryable", "field", "ref"}``;
the command line prints ``message`` on one line and exits with code 2.
"""

from __future__ import annotations

__all__ = [
    "AccessError",
    "BackendUnavailable",
    "CodecError",
    "ConfigError",
    "MediaError",
    "PortInUse",
    "ProtocolError",
    "SessionError",
    "SettingsError",
    "StreamgenError",
    "WeightsError",
    "WorkerError",
]


class StreamgenError(Exception):
    """A failure with a stable code.

    Args:
        code: stable identifier in ``snake_case``; clients branch on it.
        message: one lowercase sentence that states the fact and the value.
        field: the setting, header field or option at fault, when there is one.
        retryable: True when the same request can succeed later without being changed.
    """

    def __init__(self, code: str, message: str, *, field: str | None = None, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.retryable = retryable

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross from the worker to the server by pickle; keyword-only arguments need this spelled out.
        return _rebuild, (type(self), self.code, self.message, self.field, self.retryable)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code!r}, {self.message!r}, field={self.field!r})"


def _rebuild(kind: type[StreamgenError], code: str, message: str, field: str | None, retryable: bool) -> StreamgenError:
    return kind(code, message, field=field, retryable=retryable)


class ConfigError(StreamgenError):
    """A load-time choice that cannot be used."""


class BackendUnavailable(ConfigError):
    """The chosen backend cannot run on this machine."""


class WeightsError(ConfigError):
    """A weights file is missing, corrupt or of another format."""


class PortInUse(ConfigError):
    """Another program listens on the address."""


class ProtocolError(StreamgenError):
    """A message or frame header that is not streamgen.v1."""


class SettingsError(StreamgenError):
    """A setting that is unknown or out of range."""


class AccessError(StreamgenError):
    """A client that may not come in: ``unauthorised``, ``origin_not_allowed``, ``token_expired``, ``token_scope``,
    ``too_many_requests``."""


class CodecError(StreamgenError):
    """Pixels that cannot be decoded, or are not what the header declared."""


class SessionError(StreamgenError):
    """A session that does not exist, is taken, or is full."""


class MediaError(StreamgenError):
    """A video or image file that cannot be read or written."""


class WorkerError(StreamgenError):
    """The process that owns the device failed."""
