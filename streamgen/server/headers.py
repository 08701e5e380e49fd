"""What every answer tells a browser, so that it lets nobody else make anything of it.

The pages' own policy, what they may load and connect to, stands in each of them; here is what only a header can say.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["SecurityHeaders"]

_ALWAYS = [
    (b"x-content-type-options", b"nosniff"),
    # Not no-referrer: a page's own requests would say that they come from nowhere.
    (b"referrer-policy", b"same-origin"),
]
_PERMISSIONS = (
    "camera=(self), microphone=(self), display-capture=(self), fullscreen=(self), autoplay=(self), "
    "geolocation=(), payment=(), usb=(), serial=(), hid=(), midi=()"
)
_LOOPBACK = ("http://localhost:*", "https://localhost:*", "http://127.0.0.1:*", "https://127.0.0.1:*")


class SecurityHeaders:
    """ASGI middleware.

    Args:
        origins: sites that may show the pages in a frame, beside the server itself and pages of this machine.
    """

    def __init__(self, app: ASGIApp, origins: Iterable[str] = ()) -> None:
        self._app = app
        sites = " ".join(("'self'", *_LOOPBACK, *(origin.rstrip("/") for origin in origins if origin != "null")))
        self._of_pages = [
            (b"content-security-policy", f"base-uri 'none'; object-src 'none'; frame-ancestors {sites}".encode()),
            (b"permissions-policy", _PERMISSIONS.encode()),
            (b"cross-origin-opener-policy", b"same-origin"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_all(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                is_page = any(name == b"content-type" and value.startswith(b"text/html") for name, value in headers)
                message = {**message, "headers": headers + _ALWAYS + (self._of_pages if is_page else [])}
            await send(message)

        await self._app(scope, receive, send_all if scope["type"] == "http" else send)
