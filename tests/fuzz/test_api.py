"""Requests made from the server's own description of itself, in this process: none brings it to fail."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error

from streamgen.config import ServerConfig
from streamgen.server.app import create_app
from tests.fuzz.test_parsers import count
from tests.server.fake import FakeWorker

SECRET = "the-secret-of-this-server"
OPEN = ("/healthz", "/readyz", "/api/v1/settings-schema", "/api/v1/protocol-schema")
INSIDE = {"Host": "localhost", "Authorization": f"Bearer {SECRET}"}


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def as_text(context: Any, value: Any) -> bytes:
    return str(value).encode(errors="surrogatepass")


@pytest.fixture
def api(tmp_path: Path) -> Any:
    """The server with a worker that is ready; nothing listens."""
    worker = FakeWorker()
    worker.ready = True
    limits = {"address_requests": 10**9, "address_failures": 10**9}
    config = ServerConfig(model="fake", token=SECRET, data=tmp_path, **limits)
    return schemathesis.openapi.from_asgi("/openapi.json", create_app(config, worker))


def call(case: Any) -> int:
    """One request from inside and one from outside; how many that were."""
    answer = case.call(headers=INSIDE)
    case.validate_response(answer, checks=[not_a_server_error])
    outside = case.call(headers={"Host": "rebound.example", "Origin": "https://evil.example"})
    if case.path.startswith(OPEN):
        assert outside.status_code == answer.status_code
    else:
        assert outside.status_code in (403, 404, 405), case.path
    return 2


def test_no_request_makes_the_server_fail(api: Any) -> None:
    operations = [result.ok() for result in api.get_all_operations()]
    assert len(operations) >= 15
    requests = 0
    for operation in operations:
        requests += count(operation.as_strategy(generation_mode=GenerationMode.POSITIVE), call, 15)
        with suppress(Unsatisfiable):  # nothing is asked for that could be wrong
            requests += count(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE), call, 15)
    assert requests >= 300
