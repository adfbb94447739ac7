"""Every example runs on its own, prints text and saves its picture; the README shows them all."""

import os
import re
import subprocess
import sys
from pathlib import Path

import example_claims
import pytest

pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
README = (ROOT / "examples" / "README.md").read_text()
PICTURES = sorted((ROOT / "docs" / "pictures" / "examples").iterdir())


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs(example, tmp_path):
    """It runs with the installed package, without a screen, and without a warning."""
    # One thread, because two processes run the tests; the results have the same bits.
    environment = {**os.environ, "MPLBACKEND": "Agg", "FASTNN_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", str(example), "."],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    if example.stem in example_claims.CLAIMS:
        example_claims.CLAIMS[example.stem](done.stdout)
    saved = {path.name for path in tmp_path.iterdir()}
    assert saved & {f"{example.stem}.png", f"{example.stem}.gif"}
    assert saved <= {path.name for path in PICTURES}


def test_the_readme_names_every_example():
    links = set(re.findall(r"\]\((\w+\.py)\)", README))
    assert links == {path.name for path in EXAMPLES}


def test_the_readme_shows_every_picture():
    shown = set(re.findall(r"docs/pictures/examples/(\w+\.(?:png|gif))", README))
    assert shown == {path.name for path in PICTURES}


def test_pictures_are_small():
    """The pictures are part of the repository."""
    limits = {".png": 120_000, ".gif": 500_000}
    assert all(path.stat().st_size < limits[path.suffix] for path in PICTURES)
    assert sum(path.stat().st_size for path in PICTURES) < 1_500_000
