"""Lines of the log, and the session they are about."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest

from streamgen.logs import Labels, about, configure_logs

LOG = logging.getLogger("streamgen.test")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    loggers = [logging.getLogger(), logging.getLogger("streamgen")]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)


def test_text_names_level_logger_and_session(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("text", "server")
    LOG.info("%d frames", 3)
    LOG.warning("late", extra=about("studio"))
    assert capsys.readouterr().err == "INFO streamgen.test: 3 frames\nWARNING streamgen.test [studio]: late\n"


def test_json_is_one_object_a_line_with_what_applies(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", "worker cuda:0")
    LOG.info("two\nlines: é")
    try:
        raise ValueError("why")
    except ValueError:
        LOG.exception("it failed", extra=about("studio#7"))
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "info",
        "logger": "streamgen.test",
        "process": "worker cuda:0",
        "message": "two\nlines: é",
    }
    assert second["session"] == "studio"
    assert second["level"] == "error" and second["exception"].endswith("ValueError: why")


def test_other_packages_are_heard_from_warnings_on(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("text", "server")
    logging.getLogger("aioice.ice").info("a check")
    logging.getLogger("aioice.ice").warning("no check")
    assert capsys.readouterr().err == "WARNING aioice.ice: no check\n"


def test_configuring_again_says_nothing_twice(capsys: pytest.CaptureFixture[str]) -> None:
    for format in ("json", "text"):
        configure_logs(format, "server")
    LOG.info("once")
    assert capsys.readouterr().err == "INFO streamgen.test: once\n"


async def test_a_task_that_began_before_its_session_was_known_names_it_and_a_stranger_does_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs("text", "server")

    async def connection(name: str) -> None:
        labels = Labels()
        labels.attach()
        known = asyncio.Event()
        sending = asyncio.create_task(send(known))
        labels.session = name
        known.set()
        await sending

    async def send(known: asyncio.Event) -> None:
        await known.wait()
        LOG.info("sent")

    await asyncio.gather(*(asyncio.create_task(connection(name)) for name in ("a", "b")))
    LOG.info("nobody's")
    lines = capsys.readouterr().err.splitlines()
    assert sorted(lines) == [
        "INFO streamgen.test [a]: sent",
        "INFO streamgen.test [b]: sent",
        "INFO streamgen.test: nobody's",
    ]
