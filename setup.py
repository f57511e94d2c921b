"""The wheel must hold GraphiQL's files, which are no part of the repository: without them it isn't built.

Everything else about the package is in pyproject.toml.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

GRAPHIQL = Path(__file__).parent / "gateway" / "graphiql"


class BuildWithGraphiQL(build_py):
    def run(self) -> None:
        page = (GRAPHIQL / "index.html").read_text(encoding="utf-8")
        missing = [name for name in re.findall(r'"(assets/[^"]+@[^"]+)"', page) if not (GRAPHIQL / name).is_file()]
        if missing and not self.editable_mode:
            names = "\n".join(f"  gateway/graphiql/{name}" for name in missing)
            raise SystemExit(f"GraphiQL's files are missing; scripts/bring-graphiql brings them from npm:\n{names}")
        super().run()

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        # The repository's root is the package, but this file is no module of it.
        return [module for module in super().find_package_modules(package, package_dir) if module[1] != "setup"]


setup(cmdclass={"build_py": BuildWithGraphiQL})
