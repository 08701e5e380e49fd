"""``python -m streamgen`` and the console script ``streamgen``."""

from __future__ import annotations

import sys

from streamgen.cli.app import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
