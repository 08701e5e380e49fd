"""Milliseconds for JPEG at 256x256 and 512x512.

Writes bench/results/codec.json. Takes the options of `streamgen bench`.
"""

import sys
from pathlib import Path

from streamgen.cli.app import main

RESULT = Path(__file__).parent / "results" / "codec.json"

sys.exit(main(["bench", "--only", "codec", "--output", str(RESULT), *sys.argv[1:]]))
