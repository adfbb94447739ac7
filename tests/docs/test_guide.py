"""The guide as text: both languages have the same contents; links; Japanese typesetting.

Its code is run in test_guide_figures.py.
"""

import itertools
import re
import unicodedata

import pytest
from guide_pages import ENGLISH, JAPANESE, guide

GUIDE = guide.GUIDE


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


MARKUP = re.compile(r"\*+|!?\[|\]\([^)]*\)")


def is_japanese(character):
    return unicodedata.east_asian_width(character) in "WF"


def broken_japanese(page):
    """Return pairs of Japanese characters between which a page would show a space.

    It shows one for the end of a line, and beside markup that itself is not seen.
    """
    prose = re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"`[^`\n]*`|\$[^$\n]*\$", "x", prose)
    lines = [MARKUP.sub("", line) for line in prose.split("\n") if not line.startswith("!")]
    found = [
        one.rstrip()[-1] + after[0]
        for one, after in itertools.pairwise(lines)
        if one.strip() and after.strip() and is_japanese(one.rstrip()[-1]) and is_japanese(after[0])
    ]
    for line in lines:
        is_table = line.startswith("|")  # whose cells are apart anyway
        found += [
            before + after
            for before, after in re.findall(r"(?=(\S) +(\S))", line)
            if is_japanese(before) and is_japanese(after) and not is_table
        ]
    return found


@pytest.mark.parametrize("name", JAPANESE)
def test_no_space_is_shown_inside_a_japanese_sentence(name):
    assert broken_japanese(JAPANESE[name]) == []


def test_spaces_inside_a_japanese_sentence_are_found():
    assert broken_japanese("ネット\nワークは `fit` で\n```\n損失\n損失\n```\n") == ["トワ"]
    assert broken_japanese("これは **損失** です") == ["は損", "失で"]
    assert broken_japanese("これは **損失**\nです") == ["失で", "は損"]
    assert broken_japanese("[学習](1.md)\nの") == ["習の"]
    assert broken_japanese("これは `fit`\nです。\n\n次の段落。\n\n| 表 | 損失 |\n") == []
    assert broken_japanese("これは**損失**です。次の $x$ 。") == []


@pytest.mark.parametrize("name", JAPANESE)
def test_a_japanese_paragraph_is_one_line(name):
    """A line may only end where a space may stand, so there is no reason to end one."""
    prose = re.sub(r"^```.*?^```$", "", JAPANESE[name], flags=re.DOTALL | re.MULTILINE)
    lines = prose.split("\n")
    starts = ("|", "#", "- ", "!", "$$")
    followed = [
        one for one, after in itertools.pairwise(lines)
        if one and after and not after.startswith(starts)
    ]  # fmt: skip
    assert followed == []


EMPHASIS = re.compile(r"([^*\n]?)(\*{1,2})(?![ *])([^*\n]+)(?<! )\2(?!\*)(.?)")


def unseen_emphasis(page):
    """Return emphasis that Markdown shows as asterisks: it ends in punctuation before a letter."""
    prose = re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"`[^`\n]*`|\$[^$\n]*\$", "x", prose)
    return [
        inside
        for before, _, inside, after in EMPHASIS.findall(prose)
        if (before.isalnum() and not inside[0].isalnum())
        or (after.isalnum() and not inside[-1].isalnum())
    ]


@pytest.mark.parametrize("name", JAPANESE)
def test_emphasis_is_shown_as_emphasis(name):
    assert unseen_emphasis(JAPANESE[name]) == []


def test_unseen_emphasis_is_found():
    assert unseen_emphasis("**損失。**味見") == ["損失。"]
    assert unseen_emphasis("次の**「損失」**は") == ["「損失」"]
    assert unseen_emphasis("**損失**。味見の**損失**は (**損失**)、*見ます*。") == []
