"""HTTPS, with certificates that are made here."""

from __future__ import annotations

import base64
import hashlib
import os
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect as open_socket

from streamgen.config import ServerConfig
from streamgen.errors import ConfigError
from streamgen.frames import Pixels
from streamgen.protocol import SUBPROTOCOL
from streamgen.server.tls import certificate_of
from tests.server.conftest import Peer, running


def config_in(folder: Path, **options: object) -> ServerConfig:
    return ServerConfig(**{"port": 0, "data": folder, "tls_self_signed": True, **options})  # type: ignore[arg-type]


def files(folder: Path) -> tuple[Path, Path]:
    return folder / "tls" / "certificate.pem", folder / "tls" / "key.pem"


async def test_pages_and_the_websocket_travel_over_tls(tmp_path: Path, picture: Pixels) -> None:
    async with running(config=config_in(tmp_path)) as server:
        trust = ssl.create_default_context(cafile=str(files(tmp_path)[0]))
        async with httpx.AsyncClient(verify=trust, trust_env=False) as http:
            assert (await http.get(f"https://localhost:{server.port}/")).status_code == 200
            answer = await http.get(f"https://127.0.0.1:{server.port}/mjpeg/nobody")
            assert answer.json()["code"] == "no_such_session"
        url = f"wss://localhost:{server.port}/ws"
        async with open_socket(url, ssl=trust, subprotocols=[SUBPROTOCOL], proxy=None) as socket:
            peer = Peer(socket)
            assert (await peer.hello(session="cam"))["type"] == "welcome"
            await peer.frame(picture)
            assert (await peer.see())[0].source_seq == 0
            async with (
                httpx.AsyncClient(verify=trust, trust_env=False) as http,
                http.stream("GET", f"https://localhost:{server.port}/mjpeg/cam") as pictures,
            ):
                async for data in pictures.aiter_bytes():
                    if b"image/jpeg" in data:
                        break


def test_the_certificate_stays_the_same_and_its_key_is_nobody_elses(tmp_path: Path) -> None:
    first, second = certificate_of(config_in(tmp_path)), certificate_of(config_in(tmp_path))
    assert first is not None and second is not None
    assert first.fingerprint == second.fingerprint
    cert, key = files(tmp_path)
    der = base64.b64decode("".join(cert.read_text().splitlines()[1:-1]))
    assert first.fingerprint.replace(":", "").lower() == hashlib.sha256(der).hexdigest()
    if os.name == "posix":
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("change", ["time passes", "another host", "a broken file", "a lost key"])
def test_it_is_made_anew_when_it_is_good_no_more(tmp_path: Path, change: str) -> None:
    now, host = datetime.now(UTC), "127.0.0.1"
    first = certificate_of(config_in(tmp_path), now)
    if change == "time passes":
        now += timedelta(days=395)
    elif change == "another host":
        host = "192.0.2.7"
    elif change == "a broken file":
        files(tmp_path)[0].write_text("nonsense")
    else:
        files(tmp_path)[1].unlink()
    second = certificate_of(config_in(tmp_path, host=host, token="x"), now)
    assert first is not None and second is not None
    assert first.fingerprint != second.fingerprint


def test_a_certificate_of_ones_own_is_served(tmp_path: Path) -> None:
    made = certificate_of(config_in(tmp_path))
    cert, key = files(tmp_path)
    given = certificate_of(ServerConfig(tls_cert=cert, tls_key=key))
    assert made is not None and given is not None
    assert given.fingerprint == made.fingerprint
    assert given.context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert certificate_of(ServerConfig()) is None


def test_what_is_no_certificate_is_a_typed_error(tmp_path: Path) -> None:
    certificate_of(config_in(tmp_path))
    cert, key = files(tmp_path)
    other = tmp_path / "other"
    certificate_of(config_in(other))
    empty = tmp_path / "empty.pem"
    empty.touch()
    (tmp_path / "file").touch()
    cases: list[tuple[dict[str, object], str]] = [
        ({"tls_cert": cert}, "tls_key"),
        ({"tls_key": key}, "tls_cert"),
        ({"tls_cert": tmp_path / "nothing", "tls_key": key}, "tls_cert"),
        ({"tls_cert": cert, "tls_key": tmp_path / "nothing"}, "tls_key"),
        ({"tls_cert": cert, "tls_key": files(other)[1]}, "tls_cert"),
        ({"tls_cert": empty, "tls_key": key}, "tls_cert"),
        ({"tls_cert": cert, "tls_key": key, "tls_self_signed": True}, "tls_cert"),
        ({"tls_self_signed": True}, "tls_self_signed"),
        ({"tls_self_signed": True, "data": tmp_path / "file"}, "tls_self_signed"),
    ]
    for options, field in cases:
        with pytest.raises(ConfigError) as caught:
            certificate_of(ServerConfig(**options))  # type: ignore[arg-type]
        assert (caught.value.code, caught.value.field) == ("bad_certificate", field)
