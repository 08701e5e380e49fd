"""What pyproject.toml cannot say: the web pages live in web/, and a wheel carries them in streamgen/web/."""

from pathlib import Path
from shutil import copytree, ignore_patterns

from setuptools import setup
from setuptools.command.build_py import build_py

IGNORED = ignore_patterns(
    "tests", "*.test.js", "*.test.mjs", "node_modules", "tsconfig.json", "package*.json", "*.tgz", ".*"
)
OF_THE_NPM_PACKAGE = {"LICENSE", "README.md", "streamgen.d.ts"}


def not_served(folder: str, names: list[str]) -> set[str]:
    """Files of ``web/`` that are no part of the pages."""
    top = OF_THE_NPM_PACKAGE.intersection(names) if Path(folder).name == "web" else set()
    return IGNORED(folder, names) | top


class BuildWithPages(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            copytree("web", Path(self.build_lib, "streamgen", "web"), ignore=not_served, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithPages})
