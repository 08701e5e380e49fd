"""What the base install (the client SDK) costs: megabytes on disk, and seconds to import.

Builds the wheel, installs it with its requirements into a throw-away environment, and writes
bench/results/install.json.
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from streamgen.bench.figures import write_report

ROOT = Path(__file__).parents[1]
RESULT = Path(__file__).parent / "results" / "install.json"
TIMED = {
    "import_s": "import streamgen",
    "import_sdk_s": "import streamgen; streamgen.connect; streamgen.StreamSettings; streamgen.Frame",
}


def main() -> int:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory() as folder:
        python = install(Path(folder))
        [site] = Path(folder, "env").glob("lib/python*/site-packages")
        result = {
            "megabytes": megabytes(site),
            "largest": dict(sorted(((p.name, megabytes(p)) for p in site.iterdir()), key=lambda row: -row[1])[:6]),
            "torch": (site / "torch").exists(),
            **{name: import_seconds(python, statement) for name, statement in TIMED.items()},
        }
    for name, value in result.items():
        print(f"{name:14s} {value}")
    write_report({"install": result}, RESULT)
    return 0


def install(folder: Path) -> Path:
    """Make an environment that holds the base install and nothing else; returns its interpreter."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    source, env = folder / "source", folder / "env"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, source], check=True)
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, source], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", env], check=True)
    [wheel] = folder.glob("streamgen-*.whl")
    python = env / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "-c", ROOT / "constraints.txt", wheel], check=True)
    return python


def megabytes(path: Path) -> float:
    """Size of a file or folder as `du` would add it up."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return round(sum(each.stat().st_size for each in files) / 1e6, 1)


def import_seconds(python: Path, statement: str) -> float:
    """Median seconds of a statement in a new interpreter, the interpreter's own start left out."""
    code = f"import time; b = time.perf_counter(); {statement}; print(time.perf_counter() - b)"
    runs = [subprocess.run([python, "-c", code], capture_output=True, text=True, check=True) for _ in range(6)]
    return round(statistics.median(float(run.stdout) for run in runs[1:]), 3)


sys.exit(main())
