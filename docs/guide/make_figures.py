"""Make the guide's figures: run the code of each English page and keep the pictures it saves.

python docs/guide/make_figures.py             # all pages
python docs/guide/make_figures.py 3_losses    # one of them

The Japanese pages have the same code, so their figures are the same files.
"""

import contextlib
import io
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GUIDE = Path(__file__).resolve().parent
FIGURES = GUIDE / "figures"
# A block of Python; a plain block right behind it is what it prints.
BLOCK = re.compile(r"^```python\n(.*?)^```$(?:\n+```\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
IMAGE = re.compile(r"!\[[^\]]*\]\(\.\./figures/([^)]+)\)")
LINK = re.compile(r"\]\(([^)#:]+)\)")
# Small files, sharp enough for a page.
LOOK = {"savefig.dpi": 96, "figure.dpi": 80, "figure.max_open_warning": 0}


def pages(language):
    """Return the pages of a language, "en" or "ja", by name."""
    return {page.stem: page.read_text("utf-8") for page in sorted((GUIDE / language).glob("*.md"))}


def blocks(page):
    """Return a page's blocks of Python, each with what the page says that it prints."""
    return BLOCK.findall(page)


def images(page):
    """Return the names of the pictures that a page shows."""
    return IMAGE.findall(page)


@dataclass
class Ran:
    """What a page did: the text that each block printed, its names, and the figures it saved."""

    printed: list[str] = field(default_factory=list)
    names: list[dict[str, Any]] = field(default_factory=list)  # after each block
    figures: dict[str, Any] = field(default_factory=dict)


def run(page, directory):
    """Run a page's blocks in a directory, in one namespace; return a `Ran`."""
    import matplotlib.pyplot as plt  # not above: without it, the test skips the page
    from matplotlib.figure import Figure

    plt.switch_backend("Agg")
    ran, names, start, save = Ran(), {}, Path.cwd(), Figure.savefig

    def savefig(figure, file, **options):
        if isinstance(file, str):  # not a frame of an animation
            ran.figures[file] = figure
        return save(figure, file, **options)

    os.chdir(directory)
    Figure.savefig = savefig
    try:
        with plt.rc_context(LOOK):
            for code, _ in blocks(page):
                output = io.StringIO()
                with contextlib.redirect_stdout(output):
                    exec(compile(code, code.partition("\n")[0], "exec"), names)
                ran.printed.append(output.getvalue())
                ran.names.append(dict(names))
    finally:
        Figure.savefig = save
        os.chdir(start)
        plt.close("all")
    return ran


def keep(picture):
    """Put a picture among the guide's, a png with 256 colors, which is a third of the size."""
    from PIL import Image

    if picture.suffix == ".png":
        with Image.open(picture) as opened:
            quantized = opened.convert("RGB").quantize(256, kmeans=2, dither=Image.Dither.NONE)
        quantized.save(picture, optimize=True)
    shutil.move(picture, FIGURES / picture.name)


def main(chosen):
    """Make the figures of some pages, or of all, and say how large they are."""
    for name, page in pages("en").items():
        if chosen and name not in chosen:
            continue
        with tempfile.TemporaryDirectory() as directory:
            run(page, directory)
            for image in images(page):
                keep(Path(directory) / image)
                print(f"{name}: {image}, {(FIGURES / image).stat().st_size / 1e3:.0f} KB")


if __name__ == "__main__":
    main(sys.argv[1:])
