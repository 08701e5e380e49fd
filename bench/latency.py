"""Glass-to-glass latency through the WebSocket server on loopback, 256x256 at 20 fps.

Writes bench/results/latency.json. Takes the options of `streamgen bench`.
"""

import sys
from pathlib import Path

from streamgen.cli.app import main

RESULT = Path(__file__).parent / "results" / "latency.json"

sys.exit(main(["bench", "--only", "latency", "--output", str(RESULT), *sys.argv[1:]]))
