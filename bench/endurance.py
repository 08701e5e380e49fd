"""Many sessions, killed workers, overhead, and an hour of comings and goings.

Writes bench/results/endurance_PART.json, one for each part.
"""

import sys
from pathlib import Path

from streamgen.bench.endurance import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).parent / "results" / "endurance.json"))
