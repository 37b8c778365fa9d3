"""In a clone, a module that has been edited since it was compiled runs from its source.

The build compiles some modules of plain Python beside their sources (`setup.py`), and Python would go on importing what
was compiled. Who changes a line here wants to see it run.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any


class EditedSources(MetaPathFinder):
    """Finds modules of this package whose ``.py`` is newer than what was compiled of it; Python finds the others."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if not name.startswith("tinybn."):
            return None
        found = PathFinder.find_spec(name, path, target)
        if found is None or found.origin is None or not found.origin.endswith(tuple(EXTENSION_SUFFIXES)):
            return None
        compiled = Path(found.origin)
        source = compiled.with_name(name.rpartition(".")[2] + ".py")
        if source.exists() and source.stat().st_mtime > compiled.stat().st_mtime:
            return spec_from_file_location(name, source)
        return None


def prefer_edited_sources() -> None:
    """Have them found, in a clone. Installed, files have the times of their installation, and nobody edits them."""
    if (Path(__file__).parents[1] / "setup.py").exists():
        sys.meta_path.insert(0, EditedSources())
