"""Where a session is published to, as ``--publish`` names it: ``[SESSION=]URL``.

A URL often holds a password or a stream key. Nothing but ``Target.label`` is shown to anybody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import av
from av.error import FFmpegError, ProtocolNotFoundError

from streamgen.errors import ConfigError
from streamgen.media import reason_of

__all__ = ["Job", "Target"]

_SUFFIXES = {
    ".mp4": ("mp4", "libx264"),
    ".mkv": ("matroska", "libx264"),
    ".ts": ("mpegts", "libx264"),
    ".flv": ("flv", "libx264"),
    ".webm": ("webm", "libvpx-vp9"),
}
_SCHEMES = {"rtmp": "flv", "rtmps": "flv", "srt": "mpegts", "udp": "mpegts", "rtsp": "rtsp"}
_OPTIONAL_SCHEMES = {"srt"}
"""Those that an FFmpeg may be built without, as the one in PyAV's wheels is."""
_NAMED = re.compile(r"([A-Za-z0-9_-]{1,64})=(.+)", re.DOTALL)
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_SERVER = re.compile(r"(?:[^/?#@]*@)?((?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\])(?::\d+)?)(?:[/?#][^@]*)?", re.DOTALL)
_MAX_BITS_PER_PIXEL = 6.0  # and second: 1.6 Mb/s at 512x512
_FAST = {"preset": "veryfast", "tune": "zerolatency", "bf": "0", "forced-idr": "1"}
_FAST_VP9 = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "lag-in-frames": "0", "crf": "30"}
_MUXERS = {
    # Written as fragments, so that a file left by a crash can be played, and put in one piece when it is closed.
    "mp4": {"movflags": "hybrid_fragmented"},
    "flv": {"flvflags": "no_duration_filesize"},
    "rtsp": {"rtsp_transport": "tcp"},
}


@dataclass(frozen=True, slots=True)
class Job:
    """One connection or file, as the process that writes it is told.

    Args:
        url: as FFmpeg takes it.
        container: FFmpeg's name of the format.
        codec: likewise.
        encoder: options of the codec.
        muxer: options of the format.
        width: of all its pictures, pixels, even.
        height: likewise.
    """

    url: str
    container: str
    codec: str
    encoder: dict[str, str]
    muxer: dict[str, str]
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Target:
    """A URL or file, and the session that goes there.

    Args:
        session: its name; None for whichever session is open the longest.
        where: a URL of ``_SCHEMES``, or a path.
        live: whether somebody watches at the other end: silence would be taken for the end, and old pictures help
            nobody. A file is neither.
        container: FFmpeg's name of the format.
        codec: likewise.
        label: what may be shown of ``where``.
    """

    session: str | None
    where: str
    live: bool
    container: str
    codec: str
    label: str

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read ``[SESSION=]URL``.

        Raises:
            ConfigError: ``bad_publish``.
        """
        named = _NAMED.fullmatch(text)
        session, where = named.groups() if named else (None, text)
        url = _URL.fullmatch(where)
        if url is None:
            return cls._file(session, where)
        scheme = url[1].lower()
        server = _SERVER.fullmatch(url[2])
        label = f"{scheme}://{server[1] if server else ''}/***"
        if scheme not in _SCHEMES:
            raise _bad(f"a session is published to {', '.join(_SCHEMES)} or a file, got {label}")
        return cls(session, where, True, _SCHEMES[scheme], "libx264", label)

    @classmethod
    def _file(cls, session: str | None, where: str) -> Target:
        suffix = Path(where).suffix.lower()
        if suffix not in _SUFFIXES:
            raise _bad(f"a session is published to a URL or a file ending in {', '.join(_SUFFIXES)}, got {where!r}")
        return cls(session, where, False, *_SUFFIXES[suffix], label=where)

    def check(self) -> None:
        """Find out what can be known before there is a picture.

        Raises:
            ConfigError: ``bad_publish`` when a file cannot be written, or this FFmpeg lacks what it takes.
        """
        if self.codec not in av.codecs_available or self.container not in av.formats_available:
            raise _bad(f"cannot publish to {self.label}: this FFmpeg has no {self.codec} or no {self.container}")
        if not self.live:
            self.reserve().unlink()
        scheme = self.where.partition(":")[0].lower()
        if self.live and scheme in _OPTIONAL_SCHEMES and not _knows(scheme):
            raise _bad(
                f"cannot publish to {self.label}: the FFmpeg in PyAV {av.__version__} was built without {scheme}; "
                "publish to rtmp or udp, or install PyAV against an FFmpeg that has it (docs/obs.md)"
            )

    def reserve(self) -> Path:
        """Create the file, empty, under the first of ``name.mp4``, ``name-2.mp4``, ... that is free.

        Raises:
            ConfigError: ``bad_publish`` when it cannot be written.
        """
        path = Path(self.where).absolute()
        for number in count(2):
            try:
                path.open("xb").close()
                return path
            except FileExistsError:
                path = path.with_name(f"{Path(self.where).stem}-{number}{path.suffix}")
            except OSError as error:
                raise _bad(f"cannot write {self.where}: {reason_of(error)}") from None
        raise AssertionError("numbers do not end")

    def job(self, path: Path | None, width: int, height: int) -> Job:
        """What to tell the process that writes. ``path`` is what ``reserve()`` gave, None for a URL."""
        url = self.where if path is None else f"file:{path}"
        if url.startswith("udp:") and "pkt_size=" not in url:
            url += f"{'&' if '?' in url else '?'}pkt_size=1316"  # seven packets of MPEG-TS, within every MTU
        width, height = width // 2 * 2, height // 2 * 2
        muxer = _MUXERS.get(self.container, {}) | {"flush_packets": "1"}
        return Job(url, self.container, self.codec, self._encoder(width * height), muxer, width, height)

    def _encoder(self, pixels: int) -> dict[str, str]:
        if self.codec != "libx264":
            return _FAST_VP9
        if not self.live:
            return _FAST | {"crf": "20"}
        bits = round(pixels * _MAX_BITS_PER_PIXEL)
        return _FAST | {"crf": "23", "maxrate": str(bits), "bufsize": str(bits // 2)}


def _knows(scheme: str) -> bool:
    """Whether FFmpeg has a protocol. A URL without an address is refused before anything is sent."""
    try:
        av.open(f"{scheme}://").close()
    except ProtocolNotFoundError:
        return False
    except (FFmpegError, OSError, ValueError):
        pass
    return True


def _bad(message: str) -> ConfigError:
    return ConfigError("bad_publish", message, field="publish")
