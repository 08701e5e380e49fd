"""Frames per second of the engine alone, at 256x256 and 512x512.

Writes bench/results/engine.json. Takes the options of `streamgen bench`.
"""

import sys
from pathlib import Path

from streamgen.cli.app import main

RESULT = Path(__file__).parent / "results" / "engine.json"

sys.exit(main(["bench", "--only", "engine", "--output", str(RESULT), *sys.argv[1:]]))
