"""What pyproject.toml cannot say: the web pages live in web/, and a wheel carries them in streamgen/web/."""

from pathlib import Path
from shutil import copytree, ignore_patterns

from setuptools import setup
from setuptools.command.build_py import build_py

NOT_SERVED = ignore_patterns("tests", "*.test.js", "*.test.mjs", "node_modules", "tsconfig.json", "package*.json", ".*")


class BuildWithPages(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            copytree("web", Path(self.build_lib, "streamgen", "web"), ignore=NOT_SERVED, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithPages})
