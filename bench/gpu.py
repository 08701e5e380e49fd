"""Measure a GPU: SD-Turbo, LCM, SDXL-Turbo and SANA-Sprint at their true sizes, against diffusers, without a download.

    python bench/gpu.py [--quick] [--only sd-turbo,diffusers] [--minutes 25]
    python bench/gpu.py --device cpu [--quick]

Writes bench/results/gpu.json, or cpu_diffusion.json, after every part. Needs the extra ``diffusers``.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # also where streamgen is not installed

from streamgen.bench.gpu import main

sys.exit(main())
