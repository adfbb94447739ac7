"""The report of `peers.py`: Markdown and a picture, made from its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peer_cells import CELLS, GROUPS, THREADS_TOLERANCE, UNITS, Cell
from report import ratio_text, table, time_text

# The picture's panels, one column each; the comparison of fastnn with itself is not included.
COLUMNS = (
    ("adam", "activation", "optimizer"),
    ("float64", "avx2", "epoch", "accuracy", "predict"),
)

# Peak memory of a fit may be this many times the memory that it needs.
MEMORY_ALLOWANCE = 1.2

Results = Mapping[str, Any]


def write(data: Results, path: Path) -> None:
    """Write the table and the picture next to the JSON.

    Parameters
    ----------
    data : mapping
        The data of `peers.Results`.
    path : Path
        Path without suffix.
    """
    text = markdown(data, path.name + ".svg")
    target = path.with_name(path.name + ".md")
    target.write_text(text)
    if any(found["best"] for found in data["cells"].values()):
        picture(data, path)
    print(f"{target}: " + "; ".join(verdict(data)))


def line(cell: Cell, found: Results) -> str:
    """Return a cell's result as a line for the terminal."""
    if not found["best"]:
        return f"{cell.name}: not measured: {_errors(cell, found)}"
    best = found["peers"][found["best"]]
    return (
        f"{cell.name}: {time_text(found['fastnn_seconds'])}; {found['best']} "
        f"{time_text(best['seconds'])}; ratio {ratio_text(best)}" + _errors(cell, found)
    )


def _errors(cell: Cell, found: Results) -> str:
    """Describe what went wrong in a cell; empty if nothing did."""
    failed = {name: peer["error"] for name, peer in found["peers"].items() if "error" in peer}
    if "error" in found:
        failed["fastnn"] = found["error"]
    return "".join(f"\n- {cell.name}: {name}: {error}" for name, error in failed.items())


def measured(data: Results, group: str) -> list[tuple[Cell, Results]]:
    """Return a group's cells that have a result, in order."""
    return [
        (cell, data["cells"][name])
        for name, cell in CELLS.items()
        if cell.group == group and data["cells"].get(name, {}).get("best")
    ]


def ratio_of(found: Results) -> float:
    """Return the median ratio against the best peer."""
    return found["peers"][found["best"]]["ratio"]


def verdict(data: Results) -> list[str]:
    """Return the sentences that summarize a run."""
    cells = [pair for group in GROUPS if group != "threads" for pair in measured(data, group)]
    lost = [cell.name for cell, found in cells if ratio_of(found) < 1]
    said = [f"{len(cells)} cells, fastnn is ahead of the best peer in {len(cells) - len(lost)}"]
    if lost:
        said.append("behind in " + ", ".join(lost))
    itself = measured(data, "threads")
    if itself:
        slow = [cell.name for cell, found in itself if ratio_of(found) < THREADS_TOLERANCE]
        worst = min(ratio_of(found) for _, found in itself)
        said.append(
            f"the default threads are more than 5 % slower than one in {len(slow)} of "
            f"{len(itself)} cells (worst ratio {worst:.2f})"
        )
    failed = sum(
        "error" in peer for found in data["cells"].values() for peer in found["peers"].values()
    )
    failed += sum("error" in found for found in data["cells"].values())
    if failed:
        said.append(f"{failed} sides failed")
    return said


def markdown(data: Results, picture_name: str) -> str:
    """Return the report."""
    lines = [
        "# fastnn against its peers",
        "",
        *_machine(data),
        "",
        *(f"- {sentence}" for sentence in verdict(data)),
        "",
        f"![Factor by which fastnn is ahead]({picture_name})",
        "",
        "A ratio is the best peer's time over fastnn's: median (quartiles) over interleaved "
        "pairs, timed again where the host took a processor away meanwhile; above 1 fastnn is "
        "faster, below it stands in bold. The best peer is the "
        "configuration of lowest median time. All sides gave the same losses after 20 steps, or "
        "the same outputs, before they were timed. Where a heading does not say otherwise: relu, "
        "Adam, float32.",
    ]
    for group, heading in GROUPS.items():
        lines += _group(data, group, heading)
    lines += _memory(data["memory"])
    lines += ["", "## Every configuration", ""]
    for group, heading in GROUPS.items():
        lines += _configurations(data, group, heading)
    lines += ["## What the sides ran on", ""]
    lines += [f"- {side}: {facts}" for side, facts in data["sides"].items() if facts]
    return "\n".join(lines) + "\n"


def _machine(data: Results) -> list[str]:
    facts, settings = data["machine"], data["settings"]
    ours = facts["fastnn"]
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    peers = f", peers: {', '.join(settings['peers'])} only" if settings["peers"] else ""
    beside = settings["neighbors"]
    load = f", beside {beside} busy program{'s' * (beside != 1)}" if beside else ""
    return [
        f"- {ours['processor']}, {facts['processors']} processors, {facts['system']}, "
        f"{facts['python']}",
        f"- fastnn {ours['version']} (build {facts['build']}): ISA {ours['isa']}, threads "
        f"{ours['threads']}, {ours['compiler']}",
        f"- {versions}",
        f"- {data['date']}; {settings['pairs']} interleaved pairs a peer, blocks of "
        f"{1000 * settings['block_seconds']:.3g} ms or a call{peers}{load}",
    ]


def _group(data: Results, group: str, heading: str) -> list[str]:
    """A table of ratios against the best peer, and of what went wrong."""
    cells = measured(data, group)
    errors = [
        error
        for name, found in data["cells"].items()
        if name in CELLS and CELLS[name].group == group
        for error in _errors(CELLS[name], found).splitlines()[1:]
    ]
    if not cells and not errors:
        return []
    rows = []
    for cell, found in cells:
        best = found["peers"][found["best"]]
        rows.append(
            [
                cell.name.removeprefix(f"{group}: "), _time(cell, found, "fastnn_"),
                found["best"], _time(cell, best), ratio_text(best),
            ]
        )  # fmt: skip
    head = ["cell", "fastnn", "best peer", "its time", "ratio"]
    return ["", f"## {heading}", "", *table(head, rows), *([""] if errors else []), *errors]


def _time(cell: Cell, found: Results, side: str = "") -> str:
    """A time with its unit, and the number of epochs if that was measured."""
    text = f"{time_text(found[side + 'seconds'])} {UNITS[cell.kind]}"
    if side + "epochs" in found:
        text += f", {found[side + 'epochs']:g} epochs"
    return text


def _configurations(data: Results, group: str, heading: str) -> list[str]:
    """A table of the times of every configuration."""
    cells = measured(data, group)
    if not cells:
        return []
    names = dict.fromkeys(name for _, found in cells for name in found["peers"])
    rows = [
        [
            cell.name.removeprefix(f"{group}: "),
            time_text(found["fastnn_seconds"]),
            *(
                time_text(found["peers"][name]["seconds"])
                if "seconds" in found["peers"].get(name, {})
                else "-"
                for name in names
            ),
        ]
        for cell, found in cells
    ]
    return [f"### {heading}", "", *table(["cell", "fastnn", *names], rows), ""]


def _memory(memory: Results | None) -> list[str]:
    """Compare the peak memory of a fit with its bound."""
    if memory is None:
        return []
    needed = memory["parameters"] + memory["workspace"] + memory["data"]
    bound = MEMORY_ALLOWANCE * needed
    names = ("peak", "before", "parameters", "workspace", "data")
    head = [
        "peak resident", "before there is a model", "16 bytes a parameter", "workspace", "data",
        f"bound: {MEMORY_ALLOWANCE} x the last three", "peak / bound",
    ]  # fmt: skip
    numbers = [f"{memory[name] / 1e6:.1f} MB" for name in names]
    ratio = f"{memory['peak'] / bound:.2f}"
    if memory["peak"] > bound:
        ratio = f"**{ratio}**"
    row = [*numbers, f"{bound / 1e6:.1f} MB", ratio]
    return ["", "## Peak memory of fitting the largest network", "", *table(head, [row])]


def picture(data: Results, path: Path) -> None:
    """Draw the ratio of every cell, as .svg and .png."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    columns = [[g for g in groups if measured(data, g)] for groups in COLUMNS]
    columns = [groups for groups in columns if groups]
    counts = [[len(measured(data, group)) for group in groups] for groups in columns]
    height = max(sum(count) + 2 * len(count) for count in counts)
    options = {
        "font.size": 8, "svg.fonttype": "none", "svg.hashsalt": "fastnn",
        "font.family": "sans-serif",
    }  # fmt: skip
    with plt.rc_context(options):
        size = max(8, 5.2 * len(columns)), 1.4 + 0.17 * height  # the title is 8 inches wide
        figure = plt.figure(figsize=size, layout="constrained")
        parts = figure.subfigures(1, len(columns), squeeze=False)[0]
        everything = [f for groups in columns for g in groups for _, f in measured(data, g)]
        lowest = min(0.7, *(best_of(found)["ratio_q1"] / 1.2 for found in everything))
        highest = max(4.0, *(best_of(found)["ratio_q3"] * 1.2 for found in everything))
        for part, groups, count in zip(parts, columns, counts, strict=True):
            axes = part.subplots(
                len(groups), 1, sharex=True, squeeze=False, height_ratios=[n + 1 for n in count]
            )[:, 0]
            for axis, group in zip(axes, groups, strict=True):
                _panel(axis, group, measured(data, group), (lowest, highest))
            axes[-1].set_xlabel(
                "best peer's time / fastnn's, log scale; shaded: the peer is faster"
            )
        figure.suptitle(_title(data), fontsize=9)
        figure.savefig(path.with_name(path.name + ".svg"), metadata={"Date": None})
        figure.savefig(path.with_name(path.name + ".png"), dpi=110)
        plt.close(figure)


def best_of(found: Results) -> Results:
    """Return the numbers of the best peer."""
    return found["peers"][found["best"]]


def _title(data: Results) -> str:
    facts = data["machine"]
    versions = facts["versions"]
    return (
        "How many times faster fastnn is than the fastest of its peers\n"
        f"{facts['fastnn']['processor']}, {facts['processors']} processors, ISA "
        f"{facts['fastnn']['isa']}; NumPy {versions['numpy']}, scikit-learn "
        f"{versions['scikit-learn']}, PyTorch {versions['torch']}, JAX {versions['jax']}, "
        f"onnxruntime {versions['onnxruntime']}, OpenVINO {versions['openvino']}\n"
        f"{data['date'][:10]}, {data['settings']['pairs']} interleaved pairs a peer, "
        f"{len(data['cells'])} of {len(CELLS)} cells measured"
    )


def _panel(
    axis: Any, group: str, cells: list[tuple[Cell, Results]], limits: tuple[float, float]
) -> None:
    """Draw one group: a dot per cell, with its quartiles; a hollow square where a peer is ahead."""
    axis.axvspan(limits[0], 1, color="0.9")
    axis.axvline(1, color="black", linewidth=1)
    for row, (_, found) in enumerate(cells):
        best = best_of(found)
        is_ahead = best["ratio"] >= 1
        axis.plot([best["ratio_q1"], best["ratio_q3"]], [row, row], color="black", linewidth=1)
        axis.plot(
            best["ratio"], row, "o" if is_ahead else "s", markersize=4, markeredgecolor="black",
            markerfacecolor="black" if is_ahead else "white",
        )  # fmt: skip
        axis.text(
            1.02, row, f"{best['ratio']:.2g}\N{MULTIPLICATION SIGN}  {found['best']}", va="center",
            fontsize=6.5, transform=axis.get_yaxis_transform(),
        )  # fmt: skip
    axis.set_yticks(range(len(cells)), [_label(cell) for cell, _ in cells])
    axis.set_ylim(len(cells) - 0.4, -0.6)
    axis.set_xscale("log", base=2)
    axis.set_xlim(*limits)
    axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axis.grid(axis="x", color="0.8", linewidth=0.5)
    axis.set_axisbelow(True)
    axis.tick_params(axis="y", length=0)
    axis.set_title(GROUPS[group], fontsize=7.5, loc="left", fontweight="bold")


def _label(cell: Cell) -> str:
    """Return a cell's name in the picture, without what its panel's title says."""
    words = [cell.data, str(cell.network)]
    words += [cell.activation if cell.activation != "relu" else ""]
    words += [cell.optimizer if cell.optimizer != "adam" else ""]
    if cell.rows:
        words.append(f"{cell.rows:,} row{'s' * (cell.rows != 1)}")
    if cell.target:
        words.append(f"to {100 * cell.target:g} %")
    if cell.threads:
        words.append(f"{cell.threads} thread")
    return " ".join(filter(None, words))
