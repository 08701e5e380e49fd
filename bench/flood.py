"""A minute of 60 fps into an engine that is slower: is latency flat, is memory flat, are drops counted?

Writes bench/results/flood.json. Takes the options of `streamgen bench`.
"""

import sys
from pathlib import Path

from streamgen.cli.app import main

RESULT = Path(__file__).parent / "results" / "flood.json"

sys.exit(main(["bench", "--only", "flood", "--output", str(RESULT), "--flood-seconds", "60", *sys.argv[1:]]))
