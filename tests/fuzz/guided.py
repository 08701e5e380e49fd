"""Fuzzing that follows the branches it finds, ``python -m tests.fuzz.guided header|sdp FOLDER [SECONDS]``: `make fuzz`.

What it found on the way is kept in FOLDER for the next time, and an input that breaks something as FOLDER/crash-*. Each
input may take five seconds and a gigabyte.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["streamgen.wire", "streamgen.server.webrtc.offer", "aiortc.sdp"]):
    import aiortc.sdp

    from streamgen.errors import ProtocolError
    from streamgen.server.webrtc.offer import Offer
    from tests.fuzz import checks

from tests.fuzz.test_parsers import GOLDEN, OFFER


def try_header(data: bytes) -> None:
    """One binary message."""
    checks.check_header(data)


def try_sdp(data: bytes) -> None:
    """One offer, and what aiortc makes of it if it is let through."""
    text = data.decode(errors="replace")
    checks.check_offer(text)
    try:
        offer = Offer.parse(text, loopback_only=True)
    except ProtocolError:
        return
    try:
        aiortc.sdp.SessionDescription.parse(offer.sdp)
    except Exception:  # as peer.py has it: whatever its parser trips over is answered with bad_sdp
        return


def seeds(target: str) -> list[bytes]:
    """What to begin with."""
    if target == "sdp":
        return [OFFER.encode()]
    return [bytes.fromhex(vector["hex"]) for group in GOLDEN["frames"].values() for vector in group]


def main() -> None:
    """Fuzz one target until the time is over; libFuzzer ends the process."""
    target, folder, seconds = sys.argv[1], Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "60"
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(target)):
        (folder / f"seed-{number}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        "-timeout=5",
        "-rss_limit_mb=1024",
        "-max_len=8192",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/", str(folder)], TARGETS[target])
    atheris.Fuzz()


TARGETS = {"header": try_header, "sdp": try_sdp}

if __name__ == "__main__":
    main()
