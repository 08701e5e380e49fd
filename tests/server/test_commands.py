"""Commands that wait for a busy worker."""

from __future__ import annotations

import multiprocessing
import queue
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from streamgen.engine.messages import CloseSession, Command, ReferSession
from streamgen.server.commands import CommandSender


class SlowPipe:
    """Takes one command at a time, when a test says so."""

    def __init__(self) -> None:
        self.entered: queue.Queue[Any] = queue.Queue()
        self.may_go = threading.Semaphore(0)

    def send(self, command: Command) -> None:
        self.entered.put(command)
        self.may_go.acquire()

    def take(self) -> Any:
        """The next command that is being sent; it is through from here on."""
        command = self.entered.get(timeout=10)
        self.may_go.release()
        return command


@pytest.fixture
def pipe() -> SlowPipe:
    return SlowPipe()


@pytest.fixture
def sender(pipe: SlowPipe) -> Iterator[CommandSender]:
    sender = CommandSender(pipe, multiprocessing.get_context("spawn").Semaphore(0))  # type: ignore[arg-type]
    sender.put(ReferSession("first", None, 1))
    first = pipe.entered.get(timeout=10)  # it is on its way, and whatever comes now has to wait
    assert first.session == "first"
    yield sender
    sender.close()
    pipe.may_go.release()


def reference(session: str, rev: int) -> ReferSession:
    return ReferSession(session, np.full((16, 16, 3), rev, np.uint8), rev)


def test_of_the_reference_pictures_that_wait_only_the_newest_of_each_session_is_sent(
    pipe: SlowPipe, sender: CommandSender
) -> None:
    for command in (reference("a", 1), reference("b", 1), reference("a", 2), reference("a", 3)):
        sender.put(command)
    pipe.may_go.release()
    assert [(command.session, command.rev) for command in (pipe.take(), pipe.take())] == [("a", 3), ("b", 1)]


def test_closing_a_session_takes_its_waiting_reference_picture_away(pipe: SlowPipe, sender: CommandSender) -> None:
    for command in (reference("a", 1), reference("b", 1), CloseSession("a")):
        sender.put(command)
    pipe.may_go.release()
    assert [type(command) for command in (pipe.take(), pipe.take())] == [ReferSession, CloseSession]
