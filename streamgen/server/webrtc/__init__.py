"""WebRTC: offers, WHIP and WHEP. ``signalling`` and ``whip`` hold the routes, ``peer`` one connection, ``aiortc_shim``
what aiortc lacks."""
