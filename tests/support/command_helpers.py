"""Tables for the tests of the command, and what they have in common."""

import csv
import io

import numpy as np

QUICK = ("--members", "1", "--epochs", "5")
MODEL = "fastnn-output/model.safetensors"


def houses(rows=200):
    import pandas

    g = np.random.default_rng(0)
    table = pandas.DataFrame(
        {
            "size": g.normal(50, 10, rows),
            "garden": g.random(rows) > 0.5,
            "town": g.choice(["Köln", "Nara", "Oslo"], rows),
        }
    )
    price = 1e6 + 3e3 * table["size"] + 1e5 * table["garden"] + 2e5 * (table["town"] == "Nara")
    return table.assign(price=price, kind=np.where(table["garden"], "villa, big", "flat"))


EUROPEAN = {"sep": ";", "decimal": ",", "index": False}


def european(rows=120):
    """A usual export: decimal commas, dates, ids, gaps, categories called NA and None."""
    import pandas

    g = np.random.default_rng(0)
    return pandas.DataFrame(
        {
            "id": [f"A{i:05d}" for i in range(rows)],
            "date": [f"{1 + i % 28:02d}.{1 + i % 12:02d}.2023" for i in range(rows)],
            "size": np.where(g.random(rows) < 0.1, np.nan, g.normal(50, 9, rows).round(2)),
            "kind": [["NA", "None", "x", ""][i % 4] for i in range(rows)],
            "rate": [f"{i % 90}%" for i in range(rows)],
            "price": np.where(np.arange(rows) == 5, np.nan, g.normal(1e9, 1e7, rows)),
        }
    )


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def score_of(out, name):
    """Return the numbers of a line of the table of scores."""
    (line,) = (line for line in out.splitlines() if line.split()[:1] == [name])
    return [
        float(text.rstrip("%").replace(",", "")) / (100 if text.endswith("%") else 1)
        for text in line.split()[1:]
    ]
