"""What an operator sees of the sessions, and may do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
import simplejpeg

from streamgen.server.overview import _WORDS, thumbnail
from streamgen.server.quality import Given
from streamgen.settings import StreamSettings
from tests.server.conftest import Running, running

PICTURE = np.full((64, 64, 3), 90, np.uint8)
SESSIONS = "/api/v1/sessions"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as made:
        yield made


async def listed(server: Running, client: httpx.AsyncClient, query: str = "") -> dict[str, Any]:
    answer = await client.get(f"{server.http}{SESSIONS}{query}")
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    return dict(answer.json())


async def test_a_session_is_listed_with_its_figures(server: Running, client: httpx.AsyncClient) -> None:
    publisher = await server.publisher(session="cam", settings={"prompt": "a nurse", "steps": 2, "alpha": True})
    await server.viewer("cam")
    await publisher.frame(PICTURE)
    await publisher.see()
    server.clock.now_s += 90
    server.worker.opened["cam"].listener.on_dropped("similar", 4)
    answer = await listed(server, client)
    [session] = answer.pop("sessions")
    assert answer == {"limit": 16, "queue": 0}
    stages = session.pop("stages")
    assert stages["engine_ms"] == {"p50": 2.5, "p90": 2.5}
    assert session == {
        "name": "cam",
        "age_s": 90.0,
        "publisher": True,
        "viewers": 1,
        "device": "cpu",
        "format": {"width": 256, "height": 256, "fit": "cover", "upscale": 1},
        "rev": 0,
        "settings": {"steps": 2, "alpha": True},
        "given": None,
        "received_fps": 0.0,
        "computed_fps": 0.0,
        "frames_in": 1,
        "frames_out": 1,
        "drops": {"similar": 4},
    }


async def test_prompts_are_told_only_where_they_are_asked_for(server: Running, client: httpx.AsyncClient) -> None:
    blend = [{"prompt": "a nurse", "weight": 1.0}]
    await server.publisher(session="cam", settings={"prompts_blend": blend, "negative_prompt": "a nurse"})
    assert "nurse" not in (await client.get(f"{server.http}{SESSIONS}")).text
    [session] = (await listed(server, client, "?prompts=1"))["sessions"]
    assert session["settings"] == {"prompts_blend": blend, "negative_prompt": "a nurse"}


def test_every_setting_that_takes_free_text_counts_as_words() -> None:
    properties = StreamSettings.model_json_schema()["properties"]
    free = {name for name, schema in properties.items() if schema.get("maxLength", 0) > 64 or "items" in schema}
    assert free == _WORDS


async def test_what_a_session_is_given_instead_is_told(server: Running, client: httpx.AsyncClient) -> None:
    await server.publisher(session="cam", settings={"steps": 4, "max_fps": 30})
    session = server.sessions.get("cam")
    assert session is not None and session.give(Given(fps=5, shrunk=1, one_step=True), "busy")
    [told] = (await listed(server, client))["sessions"]
    assert told["given"] == {"max_fps": 5, "width": 128, "height": 128, "steps": 1}


async def test_a_snapshot_is_the_newest_picture_in_small(server: Running, client: httpx.AsyncClient) -> None:
    publisher = await server.publisher(session="cam", format={"width": 1024, "height": 512})
    url = f"{server.http}{SESSIONS}/cam/snapshot"
    assert (await client.get(url)).json()["code"] == "no_output_yet"
    await publisher.frame(PICTURE)
    await publisher.see()
    answer = await client.get(url)
    assert answer.headers["content-type"] == "image/jpeg" and answer.headers["cache-control"] == "no-store"
    pixels = simplejpeg.decode_jpeg(answer.content)
    assert pixels.shape == (128, 256, 3)
    assert abs(int(pixels.mean()) - server.worker.opened["cam"].mark) <= 2


def test_a_thumbnail_shows_what_is_transparent_over_black() -> None:
    pixels = np.full((300, 100, 4), 200, np.uint8)
    pixels[..., 3] = 0
    small = simplejpeg.decode_jpeg(thumbnail(pixels))
    assert small.shape == (150, 50, 3) and small.max() <= 2


async def test_an_operator_ends_a_session_for_everybody_and_it_cannot_be_resumed(
    server: Running, client: httpx.AsyncClient
) -> None:
    publisher = await server.peer()
    token = (await publisher.hello(session="cam"))["resume"]
    viewer = await server.viewer("cam")
    answer = await client.delete(f"{server.http}{SESSIONS}/cam")
    assert answer.status_code == 204
    assert (await publisher.hear("bye"))["reason"] == "ended_by_operator"
    assert await publisher.closed() == 1000
    assert (await viewer.hear("bye"))["reason"] == "session_ended"
    assert (await listed(server, client))["sessions"] == []
    back = await server.peer()
    assert (await back.hello(resume=token))["code"] == "bad_resume_token"


async def test_a_session_that_waits_for_its_publisher_is_listed_and_can_be_ended(
    server: Running, client: httpx.AsyncClient
) -> None:
    publisher = await server.publisher(session="cam")
    await publisher.socket.close()
    while (session := (await listed(server, client))["sessions"][0])["publisher"]:
        pass
    assert session["viewers"] == 0
    assert (await client.delete(f"{server.http}{SESSIONS}/cam")).status_code == 204
    assert (await listed(server, client))["sessions"] == []


@pytest.mark.parametrize(("method", "path"), [("GET", "/x/snapshot"), ("DELETE", "/x")])
async def test_a_session_that_is_not_there_is_not_found(
    server: Running, client: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await client.request(method, f"{server.http}{SESSIONS}{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_session")


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/cam/snapshot"), ("DELETE", "/cam")])
async def test_all_of_it_asks_for_the_token_and_for_a_page_from_here(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    async with running(token="secret") as server:
        assert (await client.request(method, f"{server.http}{SESSIONS}{path}")).status_code == 401
    async with running() as server:
        url = f"{server.http}{SESSIONS}{path}"
        assert (await client.request(method, url, headers={"Origin": "https://evil.example"})).status_code == 403


async def test_a_signed_token_makes_nobody_an_operator(client: httpx.AsyncClient) -> None:
    secret = {"Authorization": "Bearer a-secret-of-the-server"}
    async with running(token="a-secret-of-the-server") as server:
        made = await client.post(f"{server.http}/api/v1/tokens", headers=secret, json={"role": "publish"})
        signed = {"Authorization": f"Bearer {made.json()['token']}"}
        for path in (SESSIONS, f"{SESSIONS}/cam/snapshot", "/metrics"):
            answer = await client.get(f"{server.http}{path}", headers=signed)
            assert (answer.status_code, answer.json()["code"]) == (403, "token_scope")
        assert (await client.get(f"{server.http}{SESSIONS}", headers=secret)).status_code == 200


async def test_a_server_open_to_everybody_has_no_operator(client: httpx.AsyncClient) -> None:
    async with running(insecure_public=True) as server:
        for method, path in (("GET", SESSIONS), ("DELETE", f"{SESSIONS}/cam"), ("GET", "/metrics")):
            assert (await client.request(method, f"{server.http}{path}")).status_code == 403
