"""Where WebRTC is added to the server, or is not, and why."""

from __future__ import annotations

import logging

from fastapi import FastAPI

from streamgen.errors import BackendUnavailable
from streamgen.server.house import House
from streamgen.server.webrtc import ice, signalling, whip
from streamgen.server.webrtc.aiortc_shim import install

__all__ = ["add_webrtc"]

_LOG = logging.getLogger(__name__)


def add_webrtc(app: FastAPI, house: House) -> signalling.Peers | None:
    """Add the routes; None where WebRTC is switched off or cannot be had, and clients take the WebSocket.

    Raises:
        ConfigError: ``bad_ice``.
    """
    setup = ice.IceSetup.of(house.config)
    if not house.config.webrtc:
        return None
    try:
        install()
    except BackendUnavailable as error:
        _LOG.warning("no WebRTC: %s", error.message)
        return None
    ice.use(setup)
    peers = signalling.Peers(house, setup)
    app.include_router(signalling.routes(house, peers))
    app.include_router(whip.routes(house, peers))
    return peers
