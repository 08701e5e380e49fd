"""The HTTP side: pages, health, schemas."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from streamgen.errors import ConfigError, WeightsError
from streamgen.protocol import protocol_schema
from streamgen.server import pages
from streamgen.settings import settings_schema
from tests.server.conftest import Running, running
from tests.server.fake import FakeWorker


@pytest.fixture
async def http(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.http, trust_env=False) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "text/html"), ("/overlay.html", "text/html"), ("/js/streamgen.js", "text/javascript")],
)
async def test_pages_are_served_and_asked_for_again_each_time(http: httpx.AsyncClient, path: str, kind: str) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, kind)
    assert answer.headers["cache-control"] == "no-cache"
    again = await http.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    "path", ["/nothing.html", "/../pyproject.toml", "/%2e%2e/pyproject.toml", "/js/../../setup.py"]
)
async def test_nothing_else_is_served(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 404


async def test_schemas_are_served(http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/v1/settings-schema")).json() == settings_schema()
    assert (await http.get("/api/v1/protocol-schema")).json() == protocol_schema()


async def test_the_loaded_model_is_named(http: httpx.AsyncClient) -> None:
    assert (await http.get("/api/v1/models")).json() == {
        "models": [{"name": "fake", "styles": ["pencil sketch"], "backend": "none", "device": "cpu"}]
    }


async def test_the_api_describes_itself(http: httpx.AsyncClient) -> None:
    paths = (await http.get("/openapi.json")).json()["paths"]
    assert {"/healthz", "/readyz", "/api/v1/models", "/api/v1/settings-schema"} <= paths.keys()
    assert (await http.get("/docs")).status_code == 200


async def test_ready_means_that_the_worker_serves(server: Running, http: httpx.AsyncClient) -> None:
    assert (await http.get("/readyz")).status_code == 200
    server.worker.ready = False
    assert (await http.get("/readyz")).status_code == 503
    assert (await http.get("/healthz")).status_code == 200
    assert (await http.get("/api/v1/models")).json() == {"models": []}


async def test_pages_are_served_while_the_model_is_being_loaded() -> None:
    worker = FakeWorker()
    worker.may_start.clear()
    async with running(worker) as server, httpx.AsyncClient(base_url=server.http, trust_env=False) as http:
        assert (await http.get("/")).status_code == 200
        assert (await http.get("/readyz")).status_code == 503


async def test_a_worker_that_cannot_start_is_named_to_whoever_says_hello() -> None:
    worker = FakeWorker(failure=WeightsError("weights_missing", "there is no file x.safetensors"))
    async with running(worker) as server:
        peer = await server.peer()
        error = await peer.hello()
        assert error["code"] == "worker_not_ready"
        assert "there is no file x.safetensors" in error["message"]


def test_pages_that_were_not_packed_are_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_INSTALLED", pages._INSTALLED / "nowhere")
    monkeypatch.setattr(pages, "_CHECKED_OUT", pages._CHECKED_OUT / "nowhere")
    with pytest.raises(ConfigError) as caught:
        pages.web_root()
    assert caught.value.code == "pages_missing"


async def test_pages_of_an_allowed_origin_may_read_answers_and_no_others() -> None:
    async with running(origins=("https://mixer.example",)) as server, httpx.AsyncClient(base_url=server.http) as http:
        asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        allowed = await http.options("/webrtc/offer", headers={"origin": "https://mixer.example", **asked})
        assert allowed.headers["access-control-allow-origin"] == "https://mixer.example"
        answer = await http.get("/webrtc/ice-servers", headers={"origin": "https://mixer.example"})
        assert answer.status_code == 200 and "Location" in answer.headers["access-control-expose-headers"]
        foreign = await http.options("/webrtc/offer", headers={"origin": "https://evil.example", **asked})
        assert "access-control-allow-origin" not in foreign.headers


@pytest.mark.parametrize("path", ["/", "/overlay.html", "/nothing.html", "/js/wire.js", "/api/v1/models", "/mjpeg/cam"])
async def test_no_answer_is_taken_for_what_it_is_not(http: httpx.AsyncClient, path: str) -> None:
    for _ in range(2):
        headers = (await http.get(path)).headers
        assert headers.get_list("x-content-type-options") == ["nosniff"]
        assert headers.get_list("referrer-policy") == ["same-origin"]


@pytest.mark.parametrize("path", ["/", "/overlay.html"])
async def test_pages_say_who_may_frame_them_and_what_they_may_use(path: str) -> None:
    async with (
        running(origins=("https://mixer.example/", "null")) as server,
        httpx.AsyncClient(base_url=server.http, trust_env=False) as http,
    ):
        headers = (await http.get(path)).headers
        policy = headers["content-security-policy"]
        framed_by = policy.partition("frame-ancestors ")[2].split(" ")
        assert "'self'" in framed_by and "https://mixer.example" in framed_by
        assert "*" not in framed_by and "null" not in framed_by
        assert "camera=(self)" in headers["permissions-policy"] and "geolocation=()" in headers["permissions-policy"]
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "unsafe" not in policy


@pytest.mark.parametrize("page", ["index.html", "overlay.html"])
def test_the_pages_own_policy_lets_no_script_in_that_is_not_a_file_of_theirs(page: str) -> None:
    text = (pages.web_root() / page).read_text(encoding="utf-8")
    assert "Content-Security-Policy" in text and "default-src 'none'; script-src 'self'" in text
    assert "unsafe" not in text
