"""Turn pytest-benchmark's JSON into a Markdown table of ratios and a picture of them.

Usage: python benchmarks/report.py out/benchmark.json out/benchmark.md

The picture, a histogram of all ratios, is saved next to the table as benchmark.svg. A ratio is
NumPy's time over fastnn's, the median of interleaved pairs with its quartiles (see `timing.py`).
"""

import json
import sys
from collections import defaultdict
from pathlib import Path


def time_text(seconds):
    """Return a time with three digits and a unit."""
    for unit, scale in (("µs", 1e6), ("ms", 1e3)):
        if seconds * scale < 1000:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds:.3g} s"


def ratio_text(cell):
    """Return the ratio with its quartiles, in bold if NumPy is faster."""
    text = f"{cell['ratio']:.2f} ({cell['ratio_q1']:.2f} to {cell['ratio_q3']:.2f})"
    return f"**{text}**" if cell["ratio"] < 1 else text


def table(head, rows):
    """Return a Markdown table; the first column is aligned left, the others right."""
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def machine(facts):
    """Return what ran, as lines of Markdown."""
    ours, numpy = facts["fastnn"], facts["numpy"]
    blas = numpy["blas"]
    lanes = ", ".join(f"{count} {dtype}" for dtype, count in ours["lanes"].items())
    version = f"{facts['python_implementation']} {facts['python_version']}"
    kernels = f", kernels for {blas['isa']}" if blas["isa"] else ""
    return [
        f"- Machine: {ours['processor']}, {facts['cpu']['count']} processors, "
        f"{facts['system']} {facts['release']}, {version}",
        f"- fastnn {ours['version']}: ISA {ours['isa']} ({lanes} a vector), "
        f"threads {ours['threads']}, {ours['compiler']}",
        f"- NumPy {numpy['version']} with {blas['name']} {blas['version']}: "
        f"threads {blas['threads'] or 'unknown'}{kernels}",
    ]


def report(data):
    """Return the Markdown of a run."""
    cells = cells_of(data)
    slower = [cell for cell in cells if cell["ratio"] < 1]
    lines = [
        "# fastnn against NumPy",
        "",
        *machine(data["machine_info"]),
        f"- {data['datetime'][:16].replace('T', ' ')} UTC, {cells[0]['pairs']} interleaved pairs "
        "a cell; ratio: NumPy's time / fastnn's, median (quartiles) over the pairs",
        f"- {sum(cell['repeats'] for cell in cells)} pairs were timed again because the host had "
        "taken a processor away meanwhile",
        f"- {len(cells)} cells; NumPy is faster in {len(slower)}",
        "",
        "## Whole epochs",
        "",
    ]
    epochs = [cell for cell in cells if cell["kernel"] == "epoch"]
    lines += table(
        ["network", "epoch", "fastnn, a step", "NumPy, a step", "ratio"],
        [
            [
                cell["row"], cell["size"], time_text(cell["fastnn_seconds"] / cell["steps"]),
                time_text(cell["numpy_seconds"] / cell["steps"]), ratio_text(cell),
            ]
            for cell in epochs
        ],
    )  # fmt: skip
    groups = defaultdict(list)
    for cell in cells:
        if cell["kernel"] != "epoch":
            groups[cell["kernel"]].append(cell)
    lines += ["", "## Kernels"]
    for kernel, group in groups.items():
        lines += ["", f"### {kernel}", ""]
        lines += table(
            [kernel, "size", "dtype", "fastnn", "NumPy", "ratio"],
            [
                [
                    cell["row"] or kernel, cell["size"], cell["dtype"],
                    time_text(cell["fastnn_seconds"]), time_text(cell["numpy_seconds"]),
                    ratio_text(cell),
                ]
                for cell in group
            ],
        )  # fmt: skip
    return "\n".join(lines) + "\n", slower


def cells_of(data):
    """Return the cells of a run, each with its ratio."""
    return [b["extra_info"] for b in data["benchmarks"] if "ratio" in b["extra_info"]]


def picture(cells, path):
    """Draw the distribution of the ratios."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    small = [cell["ratio"] for cell in cells if cell["kernel"] != "epoch"]
    epochs = [cell for cell in cells if cell["kernel"] == "epoch"]
    largest = max(2.0, *(cell["ratio"] for cell in cells))
    edges, edge = [2**-0.5], 2**-0.5
    while edge > min(cell["ratio"] for cell in cells):
        edge *= 2**-0.25
        edges.insert(0, edge)
    while edges[-1] < largest:
        edges.append(edges[-1] * 2**0.25)
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    axes.hist(small, edges, color="#4878a8", edgecolor="white", label="kernels")
    for cell in epochs:
        axes.axvline(cell["ratio"], color="#c44e52", linewidth=1)
        axes.text(
            cell["ratio"], 0.98, cell["row"] + " ", rotation=90, fontsize=7, ha="right", va="top",
            transform=axes.get_xaxis_transform(), color="#c44e52",
        )  # fmt: skip
    axes.axvline(1, color="black", linewidth=1, linestyle=":")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.set_xlabel("NumPy's time / fastnn's (red: whole epochs)")
    axes.set_ylabel("kernel cells")
    figure.savefig(path)


def main(source, target):
    """Write the table and the picture."""
    data = json.loads(Path(source).read_text())
    text, slower = report(data)
    target = Path(target)
    target.write_text(text)
    picture(cells_of(data), target.with_suffix(".svg"))
    for cell in sorted(slower, key=lambda cell: cell["ratio"]):
        name = " ".join(filter(None, (cell["kernel"], cell["row"], cell["size"], cell["dtype"])))
        print(f"slower than NumPy: {name}: {cell['ratio']:.2f}")
    print(f"{target}: {len(cells_of(data))} cells, NumPy is faster in {len(slower)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
