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
from pathlib import Path

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


def run(page, directory):
    """Run a page's blocks in a directory, in one namespace; return what each has printed."""
    import matplotlib.pyplot as plt  # not above: without it, the test skips the page

    plt.switch_backend("Agg")
    names, printed, start = {}, [], Path.cwd()
    os.chdir(directory)
    try:
        with plt.rc_context(LOOK):
            for code, _ in blocks(page):
                output = io.StringIO()
                with contextlib.redirect_stdout(output):
                    exec(compile(code, code.partition("\n")[0], "exec"), names)
                printed.append(output.getvalue())
    finally:
        os.chdir(start)
        plt.close("all")
    return printed


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
