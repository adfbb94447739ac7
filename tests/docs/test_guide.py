"""The guide: the code on its pages is run, and both languages have the same contents."""

import importlib.util
import itertools
import re
import unicodedata
from pathlib import Path

import pytest

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"
specification = importlib.util.spec_from_file_location("make_figures", GUIDE / "make_figures.py")
guide = importlib.util.module_from_spec(specification)
specification.loader.exec_module(guide)
ENGLISH, JAPANESE = guide.pages("en"), guide.pages("ja")


@pytest.mark.parametrize("name", ENGLISH)
def test_a_page_runs_prints_what_it_says_and_makes_its_figures(name, tmp_path):
    pytest.importorskip("matplotlib")
    page = ENGLISH[name]
    printed = guide.run(page, tmp_path)
    for (code, said), output in zip(guide.blocks(page), printed, strict=True):
        assert output == said, code
    made = {file.name for file in tmp_path.iterdir() if file.suffix in (".png", ".gif")}
    assert made == set(guide.images(page))


def test_both_languages_have_the_same_pages():
    assert list(ENGLISH) == list(JAPANESE)


@pytest.mark.parametrize("name", ENGLISH)
def test_both_languages_show_the_same(name):
    english, japanese = ENGLISH[name], JAPANESE[name]
    assert guide.blocks(english) == guide.blocks(japanese)
    assert guide.images(english) == guide.images(japanese)
    for page in (english, japanese):  # no heading is missing
        assert english.count("\n## ") == page.count("\n## ")
    assert f"(../ja/{name}.md)" in english
    assert f"(../en/{name}.md)" in japanese


def test_every_figure_is_shown_and_every_figure_shown_is_there():
    shown = {image for page in ENGLISH.values() for image in guide.images(page)}
    files = list(guide.FIGURES.iterdir())
    assert {file.name for file in files} == shown
    assert sum(file.stat().st_size for file in files) < 1.5e6


@pytest.mark.parametrize("name", ENGLISH)
def test_links_lead_to_pages(name):
    for language, pages in (("en", ENGLISH), ("ja", JAPANESE)):
        for target in guide.LINK.findall(pages[name]):
            assert (GUIDE / language / target).exists(), target


def broken_japanese(page):
    """Return lines that end between two Japanese characters, where a page would show a space."""

    def is_wide(character):
        return unicodedata.east_asian_width(character) in "WF"

    prose = re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)
    lines = [line.strip() for line in prose.split("\n")]
    return [
        line
        for line, after in itertools.pairwise(lines)
        if line and after and is_wide(line[-1]) and is_wide(after[0])
    ]


@pytest.mark.parametrize("name", JAPANESE)
def test_no_line_ends_inside_a_japanese_sentence(name):
    assert broken_japanese(JAPANESE[name]) == []


def test_a_line_that_ends_inside_a_japanese_sentence_is_found():
    assert broken_japanese("ネット\nワークは `fit` で\n```\n損失\n損失\n```\n") == ["ネット"]
    assert broken_japanese("これは `fit`\nです。\n\n次の段落") == []
