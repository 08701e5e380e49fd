"""Milliseconds of every embedded network, by backend and precision, and of a whole frame with matte and alpha.

Writes bench/results/ensemble.json. ``--help`` names what can be chosen.
"""

import sys
from pathlib import Path

from streamgen.bench.ensemble import main

RESULT = Path(__file__).parent / "results" / "ensemble.json"

sys.exit(main(["--output", str(RESULT), *sys.argv[1:]]))
