"""Every example runs on its own, prints text and saves its picture; the README shows them all."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import example_claims
import pytest

pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parents[2]
SUPPORT = ROOT / "tests" / "support"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
README = (ROOT / "examples" / "README.md").read_text()
PICTURES = sorted((ROOT / "docs" / "pictures" / "examples").iterdir())


# Runs an example as a script, and notes what is wrong with the layout of the figures it saves.
WATCH = """
import json, runpy, sys
from matplotlib.figure import Figure
support, example, notes = sys.argv[1:]
sys.path.append(support)
from layout import faults
save, found = Figure.savefig, {}
def savefig(figure, file, **options):
    save(figure, file, **options)
    if hasattr(file, "name"):  # not a frame of an animation
        dpi = options["dpi"] if "dpi" in options else figure.dpi
        found[file.name] = faults(figure, dpi)
Figure.savefig = savefig
sys.argv = [example, "."]
runpy.run_path(example, run_name="__main__")
with open(notes, "w") as file:
    json.dump(found, file)
"""


def numbers(pattern, text):
    """Return the numbers of the first line that fits."""
    found = re.search(pattern, text)
    assert found, pattern
    return [float(number) for number in found.groups()]


def _bowl(said):
    (fast,), (jumping,), (slow,) = (
        numbers(rf"rate {rate}: 100 -> (\S+)", said) for rate in ("0.1", "0.9", "0.001")
    )
    assert max(fast, jumping) < 0.1
    assert slow > 90, "it has hardly begun"


def _digits(said):
    (share,) = numbers(r"([\d.]+)% of \d+ held-out", said)
    assert share > 95


def _local_minima(said):
    ends = {name: numbers(rf"{name} .*x = (\S+), .*after (\d+) steps", said)
            for name in ("SGD", "momentum", "Adam")}  # fmt: skip
    assert ends["momentum"][0] > 1.9
    assert max(ends["SGD"][0], ends["Adam"][0]) < -1.8
    assert ends["SGD"][1] > max(ends["momentum"][1], ends["Adam"][1])


def _numpy_layer(said):
    (r2,) = numbers(r"r2 after \d+ epochs: (\S+)", said)
    assert r2 > 0.95


def _optimizers(said):
    losses = re.findall(r"(.+?) *: training loss (\S+),", said)
    assert max(losses, key=lambda pair: float(pair[1]))[0] == "gradient descent"


def _regression(said):
    (r2,) = numbers(r"held-out r2: (\S+)", said)
    assert r2 > 0.97


def _residual_network(said):
    (plain,), (residual,) = (numbers(rf"{name}: ([\d.]+)%", said) for name in ("plain", "residual"))
    assert plain < 50
    assert residual > 90


def _time_budget(said):
    pairs = re.findall(r"accuracy ([\d.]+)% -> ([\d.]+)%", said)
    assert len(pairs) == 4
    assert all(float(after) > 95 > float(before) for before, after in pairs)


def _vanishing_gradients(said):
    sigmoid, relu = re.findall(r"after 20 epochs: ([\d.]+)% of", said)
    assert float(sigmoid) < 30 < 90 < float(relu)


def _table(said):
    (held_out, out_of_fold) = numbers(r"held-out r2: (\S+), out of fold: (\S+)", said)
    assert held_out > 0.97
    assert abs(held_out - out_of_fold) < 0.02
    (inside,) = numbers(r"intervals of 90%: ([\d.]+)%", said)
    assert 80 < inside < 97
    (price,) = numbers(r"Bonn second floor: (\S+)", said.replace(",", ""))
    true = 80 * (3600 + 120) * (1 + 0.0002 * 1216)
    assert abs(price / true - 1) < 0.1
    assert "most important: area, town" in said
    assert "numbers written as text" in said
    assert "an id" in said


def _xor(said):
    (line,), (network,) = (
        numbers(rf"{name}: accuracy ([\d.]+)%", said)
        for name in ("without a hidden layer", "with four hidden units")
    )
    assert line <= 75
    assert network > 98


# What the texts and pictures claim, by the numbers that are printed.
CLAIMS = {
    "bowl": _bowl, "digits": _digits, "local_minima": _local_minima, "numpy_layer": _numpy_layer,
    "optimizers": _optimizers, "regression": _regression, "residual_network": _residual_network,
    "table": _table, "time_budget": _time_budget, "vanishing_gradients": _vanishing_gradients,
    "xor": _xor,
}  # fmt: skip
CLAIMS |= example_claims.CLAIMS


@pytest.mark.slow  # `make test-full`, and so CI, runs them
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs(example, tmp_path):
    """It runs with the installed package, without a screen, and without a warning."""
    # One thread, because two processes run the tests; the results have the same bits.
    environment = {**os.environ, "MPLBACKEND": "Agg", "FASTNN_NUM_THREADS": "1"}
    notes = tmp_path.with_name(f"{tmp_path.name}.json")
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", WATCH, str(SUPPORT), str(example), str(notes)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    if example.stem in CLAIMS:
        CLAIMS[example.stem](done.stdout)
    wrong = {file: found for file, found in json.loads(notes.read_text()).items() if found}
    assert wrong == {}
    saved = {path.name for path in tmp_path.iterdir()}
    assert saved & {f"{example.stem}.png", f"{example.stem}.gif"}
    assert saved <= {path.name for path in PICTURES}


@pytest.mark.slow
def test_the_table_in_a_shell(tmp_path):
    """Its commands succeed, and the model knows the flowers."""
    folder = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", str(ROOT / "examples" / "table.sh"), str(tmp_path)],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "cells are separated by ';'" in done.stdout
    assert float(re.search(r"accuracy +([\d.]+)%", done.stdout)[1]) > 80
    *_, heads, answer = done.stdout.splitlines()
    assert heads == "species,probability_setosa,probability_versicolor,probability_virginica"
    assert answer.startswith("virginica,")
    saved = {path.name for path in (tmp_path / "flowers").iterdir()}
    assert saved == {"model.safetensors", "predictions.csv", "report.html"}


def test_the_readme_names_every_example():
    links = set(re.findall(r"\]\((\w+\.(?:py|sh))\)", README))
    scripts = {path.name for path in (ROOT / "examples").glob("*.sh")}
    assert links == scripts | {path.name for path in EXAMPLES}


def test_the_readme_shows_every_picture():
    shown = set(re.findall(r"docs/pictures/examples/(\w+\.(?:png|gif))", README))
    assert shown == {path.name for path in PICTURES}


def test_pictures_are_small():
    """The pictures are part of the repository."""
    limits = {".png": 120_000, ".gif": 500_000}
    assert all(path.stat().st_size < limits[path.suffix] for path in PICTURES)
    assert sum(path.stat().st_size for path in PICTURES) < 1_500_000
