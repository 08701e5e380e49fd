"""The web pages: where they lie, and how they are served."""

from __future__ import annotations

from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from streamgen.errors import ConfigError

__all__ = ["Pages", "web_root"]

_INSTALLED = Path(__file__).parents[1] / "web"
_CHECKED_OUT = Path(__file__).parents[2] / "web"


def web_root() -> Path:
    """The folder with ``index.html``: packed beside the modules in a wheel, ``web/`` in a checkout.

    Raises:
        ConfigError: ``pages_missing``.
    """
    for folder in (_INSTALLED, _CHECKED_OUT):
        if (folder / "index.html").is_file():
            return folder
    raise ConfigError("pages_missing", f"the web pages are neither in {_INSTALLED} nor in {_CHECKED_OUT}")


class Pages(StaticFiles):
    """Static files that a browser asks about every time, so that an upgraded server never meets yesterday's script."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response
