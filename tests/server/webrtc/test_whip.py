"""WHIP and WHEP: their exact status codes, and ffmpeg's own WHIP client."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from streamgen.server.webrtc.offer import MAX_SDP_BYTES
from streamgen.settings import FrameFormat
from tests.server.conftest import TIMEOUT_S, Running, running
from tests.server.fake import FakeWorker
from tests.server.webrtc.peers import Flat, RtcPeer
from tests.server.webrtc.test_connection import gone

MakePeer = Callable[..., RtcPeer]
SDP = {"content-type": "application/sdp"}
FRAGMENT = {"content-type": "application/trickle-ice-sdpfrag"}


async def request(server: Running, method: str, path: str, **options: object) -> httpx.Response:
    async with httpx.AsyncClient(base_url=server.http, timeout=TIMEOUT_S) as http:
        return await http.request(method, path, **options)  # type: ignore[arg-type]


async def whip(server: Running, peer: RtcPeer, path: str = "/whip/studio") -> httpx.Response:
    """Publish or watch as RFC 9725 has it; the answer is accepted."""
    answer = await request(server, "POST", path, content=await peer.offer(), headers=SDP)
    assert answer.status_code == 201, answer.text
    await peer.accept(answer.text)
    return answer


async def test_obs_is_answered_with_201_a_body_and_a_location(server: Running, peer: MakePeer) -> None:
    publisher = peer(Flat(), channel=False, direction="sendonly")
    answer = await whip(
        server, publisher, "/whip/studio?strength=0.5&prompt=pencil%20sketch&width=256&height=256&upscale=2"
    )
    assert answer.headers["content-type"].startswith("application/sdp") and answer.text.startswith("v=0")
    assert answer.headers["location"].startswith("/whip/studio/") and answer.headers["etag"].startswith('"')
    await server.worker.frames("studio", 2)
    opened = server.worker.opened["studio"]
    assert (opened.settings.strength, opened.settings.prompt) == (0.5, "pencil sketch")
    assert opened.format == FrameFormat(width=256, height=256, upscale=2)
    assert (await request(server, "DELETE", answer.headers["location"])).status_code == 200
    await gone(server)
    assert (await request(server, "DELETE", answer.headers["location"])).status_code == 404


async def test_what_is_published_can_be_watched(server: Running, peer: MakePeer) -> None:
    await whip(server, peer(Flat(), channel=False, direction="sendonly"))
    watcher = peer(channel=False)
    answer = await whip(server, watcher, "/whep/studio")
    assert answer.headers["location"].startswith("/whep/studio/")
    assert (await watcher.see()).shape == (256, 256, 3)
    session = server.sessions.get("studio")
    assert session is not None and len(session.viewers) == 1


async def test_a_publisher_that_comes_back_finds_its_settings(server: Running, peer: MakePeer) -> None:
    first = await whip(server, peer(Flat(), channel=False, direction="sendonly"), "/whip/studio?prompt=ink")
    conflict = await request(server, "POST", "/whip/studio", content=await peer(Flat()).offer(), headers=SDP)
    assert (conflict.status_code, conflict.json()["code"]) == (409, "publisher_exists")
    await request(server, "DELETE", first.headers["location"])
    await whip(server, peer(Flat(), channel=False, direction="sendonly"))
    assert server.worker.opened["studio"].settings.prompt == "ink"


async def test_candidates_may_come_later(server: Running, peer: MakePeer) -> None:
    publisher = peer(Flat(), channel=False, direction="sendonly")
    sdp = await publisher.offer()
    candidates = [line for line in sdp.splitlines() if line.startswith("a=candidate")]
    ufrag = next(line for line in sdp.splitlines() if line.startswith("a=ice-ufrag"))
    bare = "\r\n".join(line for line in sdp.splitlines() if not line.startswith(("a=candidate", "a=end-of"))) + "\r\n"
    answer = await request(server, "POST", "/whip/studio", content=bare, headers=SDP)
    where, etag = answer.headers["location"], answer.headers["etag"]
    fragment = "\r\n".join([ufrag, "m=video 9 UDP/TLS/RTP/SAVPF 0", "a=mid:0", *candidates]) + "\r\n"
    patched = await request(server, "PATCH", where, content=fragment, headers={**FRAGMENT, "if-match": etag})
    assert patched.status_code == 204
    await publisher.accept(answer.text)
    await server.worker.frames("studio", 1)
    for headers, body, status in [
        ({**FRAGMENT}, fragment, 428),
        ({**FRAGMENT, "if-match": '"other"'}, fragment, 412),
        ({**SDP, "if-match": etag}, fragment, 415),
        ({**FRAGMENT, "if-match": etag}, fragment.replace(ufrag, "a=ice-ufrag:anew"), 422),
        ({**FRAGMENT, "if-match": "*"}, "a=candidate:1 1 udp x 127.0.0.1 y typ host\r\n", 400),
        ({**FRAGMENT, "if-match": "*"}, MAX_SDP_BYTES * "a" + "b", 413),
    ]:
        assert (await request(server, "PATCH", where, content=body, headers=headers)).status_code == status


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "code"),
    [
        ("POST", "/whip/studio", {}, "v=0", 415, "unsupported_media_type"),
        ("POST", "/whip/studio", SDP, "hello", 400, "bad_sdp"),
        ("POST", "/whip/studio", SDP, MAX_SDP_BYTES * "a" + "b", 413, "body_too_large"),
        ("POST", "/whip/no%20name", SDP, "v=0", 400, "invalid_message"),
        ("POST", "/whep/nobody", SDP, "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n", 400, "bad_sdp"),
        ("DELETE", "/whip/studio/nothing", {}, "", 404, "no_such_connection"),
        ("PATCH", "/whip/studio/nothing", FRAGMENT, "", 404, "no_such_connection"),
    ],
)
async def test_errors_are_typed(
    server: Running, method: str, path: str, headers: dict[str, str], body: str, status: int, code: str
) -> None:
    answer = await request(server, method, path, headers=headers, content=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    await gone(server)


async def test_nobody_watches_what_is_not_there(server: Running, peer: MakePeer) -> None:
    answer = await request(server, "POST", "/whep/nobody", content=await peer().offer(), headers=SDP)
    assert (answer.status_code, answer.json()["code"]) == (404, "no_such_session")


async def test_reserved_methods_are_refused(server: Running) -> None:
    assert (await request(server, "GET", "/whip/studio")).status_code == 405
    assert (await request(server, "PUT", "/whep/studio")).status_code == 405


async def test_options_and_answers_name_the_ice_servers(peer: MakePeer) -> None:
    options = {
        "ice_servers": ("stun:127.0.0.1:3478", "turn:127.0.0.1:3478"),
        "turn_username": 'a"b',
        "turn_password": "c",
    }
    async with running(clock=time.monotonic, **options) as server:
        answer = await request(server, "OPTIONS", "/whip/studio")
        assert (answer.status_code, answer.headers["accept-post"]) == (204, "application/sdp")
        assert answer.headers["link"] == (
            '<stun:127.0.0.1:3478>; rel="ice-server", <turn:127.0.0.1:3478>; rel="ice-server"; '
            'username="a\\"b"; credential="c"; credential-type="password"'
        )


async def test_a_model_that_is_loading_makes_nobody_wait(peer: MakePeer) -> None:
    worker = FakeWorker()
    worker.may_start.clear()
    async with running(worker=worker, clock=time.monotonic) as server:
        sender = RtcPeer(server, Flat(), channel=False, direction="sendonly")
        answer = await request(server, "POST", "/whip/studio", content=await sender.offer(), headers=SDP)
        assert (answer.status_code, answer.json()["code"]) == (503, "worker_not_ready")
        assert answer.headers["retry-after"]
        worker.may_start.set()
        await sender.close()


async def test_a_token_is_asked_for(peer: MakePeer) -> None:
    async with running(clock=time.monotonic, token="sesame") as server:
        sender = RtcPeer(server, Flat(), channel=False, direction="sendonly")
        sdp = await sender.offer()
        refused = await request(server, "POST", "/whip/studio", content=sdp, headers=SDP)
        assert refused.status_code == 401
        bearer = {**SDP, "authorization": "Bearer sesame"}
        assert (await request(server, "POST", "/whip/studio", content=sdp, headers=bearer)).status_code == 201
        await sender.close()


FFMPEG = """
import sys, av, numpy as np
url, token, certificate, key = sys.argv[1:]
options = {"authorization": token, "cert_file": certificate, "key_file": key}
with av.open(url, "w", format="whip", options=options) as output:
    video = output.add_stream("libx264", rate=30)
    video.width = video.height = 128
    video.pix_fmt = "yuv420p"
    video.options = {"preset": "ultrafast", "tune": "zerolatency", "bf": "0", "profile": "baseline", "g": "15"}
    for number in range(30):
        frame = av.VideoFrame.from_ndarray(np.full((128, 128, 3), (40, 160, 90), np.uint8), format="rgb24")
        frame.pts = number
        output.mux(video.encode(frame))
"""


async def test_ffmpegs_own_whip_client_publishes(tmp_path: Path) -> None:
    """In a process of its own: its muxer holds the interpreter's lock while it connects. It is given a key, because
    the one it makes with GnuTLS has 224 bits, which OpenSSL refuses."""
    from aiortc.rtcdtlstransport import RTCCertificate

    made = RTCCertificate.generateCertificate()
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.write_bytes(made._cert.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        made._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    async with running(clock=time.monotonic, token="sesame") as server:
        arguments = [f"{server.http}/whip/studio", "sesame", str(certificate), str(key)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", FFMPEG, *arguments, stderr=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(TIMEOUT_S):
                frames = await server.worker.frames("studio", 1)
                assert abs(frames[0].pixels[64, 64].astype(int) - (40, 160, 90)).max() <= 6
                _, said = await process.communicate()
            assert process.returncode == 0, said.decode()
            await gone(server)  # it deletes its connection by itself
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
