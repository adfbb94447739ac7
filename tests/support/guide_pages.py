"""The pages of the guide, and what they do: each is run once in a session, for all tests."""

import importlib.util
import sys
import tempfile
from functools import cache
from pathlib import Path

PLACE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "make_figures.py"
specification = importlib.util.spec_from_file_location("make_figures", PLACE)
guide = importlib.util.module_from_spec(specification)
sys.modules["make_figures"] = guide
specification.loader.exec_module(guide)
ENGLISH, JAPANESE = guide.pages("en"), guide.pages("ja")


@cache
def ran(name):
    """Run an English page in a folder of its own; add the names of the pictures that it saved."""
    with tempfile.TemporaryDirectory() as folder:
        done = guide.run(ENGLISH[name], folder)
        done.saved = {
            file.name for file in Path(folder).iterdir() if file.suffix in (".png", ".gif")
        }
    return done
