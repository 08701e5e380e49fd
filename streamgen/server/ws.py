"""The WebSocket edge of streamgen.v1: from socket events to the dialogue, and from the outbox to the socket."""

from __future__ import annotations

import asyncio
import logging

from starlette.websockets import WebSocket, WebSocketDisconnect

from streamgen.errors import AccessError, ProtocolError, StreamgenError
from streamgen.protocol import SUBPROTOCOL, Close
from streamgen.server.dialogue import Dialogue
from streamgen.server.house import House
from streamgen.server.intake import Intake
from streamgen.server.outbox import Delivery, End
from streamgen.wire import FrameHeader, Kind, parse_frame, peek_seq

__all__ = ["Connection"]

_LOG = logging.getLogger(__name__)


class Connection:
    """One WebSocket. ``run()`` returns when it is closed."""

    def __init__(self, socket: WebSocket, house: House) -> None:
        self._socket = socket
        self._house = house
        self._dialogue = Dialogue(house)
        self._outbox = self._dialogue.outbox
        self._intake: Intake | None = None

    async def run(self) -> None:
        sender: asyncio.Task[None] | None = None
        try:
            await self._accept()
            sender = asyncio.create_task(self._send_all())
            await self._receive_all()
        finally:
            if self._intake is not None:
                self._intake.close()
            self._dialogue.close()
            if sender is not None:
                sender.cancel()
                await asyncio.wait([sender])

    async def _accept(self) -> None:
        """Accept everybody: a browser shows its page no reason for a handshake that was refused, but a close code."""
        offered = self._socket.scope["subprotocols"]
        await self._socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        try:
            self._dialogue.admit(self._house.admit(self._socket))
            if SUBPROTOCOL not in offered:
                raise ProtocolError("unsupported_subprotocol", f"ask for the subprotocol {SUBPROTOCOL}")
        except AccessError as error:
            self._dialogue.refuse(error)
        except ProtocolError as error:
            self._dialogue.refuse(error)
            self._outbox.end(Close.PROTOCOL, f"the subprotocol {SUBPROTOCOL} is required")

    # ------------------------------------------------------------------------------------------------------- sending

    async def _send_all(self) -> None:
        try:
            while not isinstance(item := await self._outbox.next(), End):
                await self._send(await item.seal() if isinstance(item, Delivery) else item)
            async with asyncio.timeout(self._house.config.send_timeout_s):
                await self._socket.close(item.code, item.reason)
        except WebSocketDisconnect:
            return  # the receiving side hears of it too
        except TimeoutError:
            self._give_up()
        except Exception:  # the transport edge: a defect here must not leave a client connected to nothing
            _LOG.exception("sending to a client failed")
            self._give_up()

    async def _send(self, item: str | bytes) -> None:
        async with asyncio.timeout(self._house.config.send_timeout_s):
            if isinstance(item, str):
                await self._socket.send_text(item)
            else:
                await self._socket.send_bytes(item)

    def _give_up(self) -> None:
        """Close without waiting: an ordinary close would queue behind what the client does not read."""
        give_up = self._socket.scope.get("state", {}).get("give_up")
        if give_up is not None:
            give_up(Close.SLOW, "too slow to take a message")

    # ----------------------------------------------------------------------------------------------------- receiving

    async def _receive_all(self) -> None:
        self._dialogue.expect_hello()
        while (event := await self._socket.receive())["type"] != "websocket.disconnect":
            if self._outbox.ended:
                continue  # closing; what still arrives is read and forgotten
            if event.get("text") is not None:
                await self._dialogue.on_text(event["text"])
            else:
                self._on_frame(event["bytes"])

    def _on_frame(self, data: bytes) -> None:
        received_s = self._house.clock()
        try:
            session = self._dialogue.joined()
            self._dialogue.check_publishes()
            if self._intake is None:
                dialogue = self._dialogue
                self._intake = Intake(session, self._outbox, self._house.pool, dialogue.accepted, dialogue.refuse)
            header, payload = self._parse_frame(data)
            if session.admit(received_s):
                self._intake.put(header, payload, received_s)
        except StreamgenError as error:
            self._dialogue.refuse(error)

    def _parse_frame(self, data: bytes) -> tuple[FrameHeader, memoryview]:
        try:
            header, payload = parse_frame(data)
        except ProtocolError:
            seq = peek_seq(data)
            if seq is not None:
                self._outbox.acknowledge(seq)
            raise
        self._outbox.acknowledge(header.seq)
        if header.kind is not Kind.INPUT:
            raise ProtocolError("unknown_kind", f"a client sends kind {Kind.INPUT}, got {header.kind}", field="kind")
        return header, payload
