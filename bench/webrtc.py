"""WebRTC: latency through the server, lost packets, hostile offers, Chromium, the overlay, what is mended of aiortc.

Writes bench/results/webrtc.json. ``--help`` names the parts and what else can be chosen.
"""

import sys
from pathlib import Path

from streamgen.bench.webrtc import main

RESULT = Path(__file__).parent / "results" / "webrtc.json"

if __name__ == "__main__":  # parts are processes that begin by importing this
    sys.exit(main(["--output", str(RESULT), *sys.argv[1:]]))
