"""The page on the package index: the distribution's name, its extras, and the README."""

import importlib.metadata
import re
from pathlib import Path

import pytest

import fastnn as fnn
from fastnn.core import extras

ROOT = Path(__file__).resolve().parents[2]
METADATA = importlib.metadata.metadata(extras.DISTRIBUTION)
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").glob("*.md")),
]
SOURCES = sorted(Path(fnn.__file__).parent.rglob("*.py"))
EXTRA = re.compile(r"""extras\.install\(['"](\w+)|extras\.missing\(\s*"[^"]*",\s*"(\w+)""")
# `fastnn` before an extra, or after an installer: that distribution is another project's.
STRANGER = re.compile(r"fastnn\[|\binstall\s+(?:-\S+\s+)*['\"]?fastnn(?![\w-])")


def relative_targets(text):
    """Return the targets of links and pictures that work in a folder, but not on a package page."""
    targets = re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text)
    found = [markdown or html for markdown, html in targets]
    return [target for target in found if not re.match(r"https?://|#|mailto:", target)]


def test_every_extra_that_a_message_names_is_one():
    named = {
        extra for path in SOURCES for pair in EXTRA.findall(path.read_text()) for extra in pair
    }
    assert {"plot", "scipy", "table", "tensorboard"} <= named
    assert named - {""} <= set(METADATA.get_all("Provides-Extra"))


def test_the_hint_is_one_line_that_a_shell_takes():
    assert extras.install("plot") == "pip install 'fastnn-cpu[plot]'"
    error = extras.missing("this needs that", "table", "give the other")
    assert str(error) == "this needs that: pip install 'fastnn-cpu[table]', or give the other"
    assert isinstance(error, ImportError)


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda path: path.name)
def test_nothing_tells_to_install_another_project(path):
    assert not STRANGER.search(path.read_text())


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("pip install fastnn", True),
        ("pip install -U 'fastnn[plot]'", True),
        ("needs the extra fastnn[plot]", True),
        ("pip install fastnn-cpu", False),
        ("pip install 'fastnn-cpu[plot]'", False),
        ("pip install .", False),
    ],
)
def test_how_another_project_is_recognised(text, is_found):
    assert bool(STRANGER.search(text)) == is_found


def test_the_package_page_is_whole():
    """An index shows the README without the files around it."""
    assert METADATA["Name"] == "fastnn-cpu"
    assert METADATA["Description-Content-Type"] == "text/markdown"
    assert METADATA["Author"] == "fastnn developers"
    assert METADATA["Keywords"]
    assert "Typing :: Typed" in METADATA.get_all("Classifier")
    assert relative_targets((ROOT / "README.md").read_text()) == []


def test_relative_links_and_pictures_are_found():
    shown = 'a [b](docs/c.md) ![d](e.svg) <img src="f.png"> [g](https://h) [i](#j)'
    assert relative_targets(shown) == ["docs/c.md", "e.svg", "f.png"]
