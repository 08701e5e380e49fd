"""Settings under a name, kept in a file of the user's data folder.

::

    GET    /api/v1/presets            all of them, by name
    GET    /api/v1/presets/{name}
    PUT    /api/v1/presets/{name}     {"settings": {...}, "format": {...}}
    DELETE /api/v1/presets/{name}

SQLite with a write-ahead log: a preset that was answered for is there after the process was killed, and several servers
may share the file.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from streamgen.errors import ProtocolError, SessionError, StreamgenError
from streamgen.server.house import House
from streamgen.server.refusal import refusal
from streamgen.server.request_body import parse_body, read_body
from streamgen.settings import StreamSettings, merge_settings, parse_format

__all__ = ["MAX_PRESETS", "Preset", "Presets", "add_presets"]

MAX_PRESETS = 1000
_BODY_BYTES = 64 * 1024
_BUSY_S = 5.0
_NAME = re.compile(r"[^\x00-\x1f\x7f/\\]{1,64}")
_Read = TypeVar("_Read")


class Preset(BaseModel):
    """What a preset sets; what it does not name stays as it is.

    Args:
        settings: of ``StreamSettings``.
        format: of ``FrameFormat``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    settings: dict[str, Any] = Field(default_factory=dict)
    format: dict[str, Any] = Field(default_factory=dict)

    def check(self) -> Preset:
        """The preset with its values as they are understood.

        Raises:
            SettingsError: naming the field at fault.
        """
        settings = merge_settings(StreamSettings(), self.settings).model_dump(mode="json")
        format = parse_format(self.format).model_dump(mode="json")
        return Preset(
            settings={name: settings[name] for name in self.settings},
            format={name: format[name] for name in self.format},
        )


class Presets:
    """The file. Its methods block; they may be called on any thread.

    Args:
        path: of the file, which is made when the first preset is saved; None where there is no place for one.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._one_at_a_time = threading.Lock()

    def all(self) -> dict[str, Preset]:
        """By name, sorted.

        Raises:
            SessionError: ``preset_failed``, as all that follow.
        """
        return self._with(lambda base: {name: _parse(body) for name, body in base.execute(_ALL)})

    def get(self, name: str) -> Preset:
        """Raises:
        SessionError: ``no_such_preset``.
        """
        row = self._with(lambda base: base.execute("SELECT body FROM presets WHERE name = ?", (name,)).fetchone())
        if row is None:
            raise _unknown(name)
        return _parse(row[0])

    def put(self, name: str, preset: Preset) -> None:
        """Keep a preset, instead of one of that name.

        Raises:
            ProtocolError: ``invalid_message`` for a name that cannot be one.
            SettingsError: naming the field at fault.
            SessionError: ``too_many_presets``.
        """
        if not _NAME.fullmatch(name) or name != name.strip():
            fact = f"a preset's name has 1 to 64 characters and no slashes, got {name[:80]!r}"
            raise ProtocolError("invalid_message", fact, field="name")
        body = preset.check().model_dump_json()

        def write(base: sqlite3.Connection) -> bool:
            kept = base.execute("SELECT count(*) FROM presets WHERE name != ?", (name,)).fetchone()[0]
            if kept < MAX_PRESETS:
                base.execute("INSERT OR REPLACE INTO presets VALUES (?, ?)", (name, body))
            return bool(kept < MAX_PRESETS)

        if not self._with(write):
            raise SessionError("too_many_presets", f"there are {MAX_PRESETS} presets already", field="name")

    def delete(self, name: str) -> None:
        """Raises:
        SessionError: ``no_such_preset``.
        """
        if not self._with(lambda base: base.execute("DELETE FROM presets WHERE name = ?", (name,)).rowcount):
            raise _unknown(name)

    def _with(self, work: Callable[[sqlite3.Connection], _Read]) -> _Read:
        """Do something in one transaction."""
        if self._path is None:
            raise SessionError("preset_failed", "this server has no folder for presets")
        try:
            with self._one_at_a_time:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with closing(sqlite3.connect(self._path, timeout=_BUSY_S)) as base:
                    base.execute("PRAGMA journal_mode = WAL")
                    base.execute("PRAGMA synchronous = FULL")  # a power cut loses nothing that was answered for either
                    with base:
                        base.execute("CREATE TABLE IF NOT EXISTS presets (name TEXT PRIMARY KEY, body TEXT NOT NULL)")
                        return work(base)
        except (sqlite3.Error, OSError) as error:
            raise SessionError("preset_failed", f"the presets cannot be reached: {error}", retryable=True) from None


_ALL = "SELECT name, body FROM presets ORDER BY name"


def add_presets(app: FastAPI, house: House, presets: Presets) -> None:
    """Add the routes."""

    async def answered(request: Request, work: Callable[[], Any], role: str = "view") -> Response:
        try:
            house.admit(request).check(role, None)
            return JSONResponse(await asyncio.to_thread(work))
        except StreamgenError as error:
            return refusal(error)

    @app.get("/api/v1/presets", tags=["presets"], summary="All presets")
    async def everything(request: Request) -> Response:
        return await answered(
            request, lambda: {"presets": {name: one.model_dump() for name, one in presets.all().items()}}
        )

    @app.get("/api/v1/presets/{name}", tags=["presets"], summary="A preset")
    async def one(name: str, request: Request) -> Response:
        return await answered(request, lambda: {"name": name, **presets.get(name).model_dump()})

    @app.put("/api/v1/presets/{name}", tags=["presets"], summary="Keep settings, and a format, under a name")
    async def put(name: str, request: Request) -> Response:
        try:
            house.admit(request).check("admin", None)
            preset = parse_body(Preset, await read_body(request, _BODY_BYTES))
        except StreamgenError as error:
            return refusal(error)

        def work() -> dict[str, Any]:
            presets.put(name, preset)
            return {"name": name, **presets.get(name).model_dump()}

        return await answered(request, work, "admin")

    @app.delete("/api/v1/presets/{name}", tags=["presets"], summary="Forget a preset")
    async def delete(name: str, request: Request) -> Response:
        def work() -> dict[str, Any]:
            presets.delete(name)
            return {"name": name}

        return await answered(request, work, "admin")


def _parse(body: str) -> Preset:
    return Preset.model_validate(json.loads(body))


def _unknown(name: str) -> SessionError:
    return SessionError("no_such_preset", f"there is no preset named {name[:80]!r}", field="name")
