"""A dense layer's products, compared with the processor's peak, one core, and PyTorch.

Run it as `python benchmarks/products.py`; if torch is installed, its `mm` is compared as well.
float32. It prints as Markdown:

- the share of one core's peak that each form reaches at all M, N and K of `SIZES`. The peak is
  measured again with every sample, as multiply-adds in registers;
- two workers compared with one, on the products of the two wide networks;
- `torch.mm` on one thread compared with one worker, on every product of the six networks.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import timing
from networks import NETWORKS

from fastnn.native import kernels

SIZES = (64, 128, 256, 512, 1024)
FORMS = ("affine", "input_gradient", "kernel_gradient")
SAMPLES = 11
SAMPLE_SECONDS = 5e-4
PROBE = (16, 64, 20_000)  # chains of multiply-adds enough for every register; repetitions

Product = Callable[[], object]


def product(form: str, rows: int, inputs: int, units: int, workers: int) -> Product:
    """Return fastnn's product for a layer's sizes."""
    rng = np.random.default_rng(0)
    x, kernel, grad = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((rows, inputs), (inputs, units), (rows, units))
    )
    if form == "affine":
        return lambda: kernels.affine(x, kernel, out=grad, workers=workers)
    if form == "input_gradient":
        return lambda: kernels.input_gradient(grad, kernel, out=x, workers=workers)
    return lambda: kernels.kernel_gradient(x, grad, out=kernel, workers=workers)


def torch_product(form: str, rows: int, inputs: int, units: int) -> Product:
    """Return the same product, computed by torch.mm."""
    import torch

    x, kernel, grad = (
        torch.randn(shape) for shape in ((rows, inputs), (inputs, units), (rows, units))
    )
    if form == "affine":
        return lambda: torch.mm(x, kernel, out=grad)
    if form == "input_gradient":
        return lambda: torch.mm(grad, kernel.T, out=x)
    return lambda: torch.mm(x.T, grad, out=kernel)


def probe() -> float:
    """Return the multiply-adds per second that one core currently does in registers."""
    rows, width, times = PROBE
    x = np.ones((rows, width), np.float32)
    began = time.perf_counter()
    kernels.multiply_add(x, times=times, factor=0.5, addend=0.5, workers=1)
    return rows * width * times / (time.perf_counter() - began)


def share_of_peak(form: str, rows: int, inputs: int, units: int) -> float:
    """Return the median share of the peak over samples, with a probe before and after each."""
    run, work = product(form, rows, inputs, units, 1), float(rows * inputs * units)
    calls = max(1, int(SAMPLE_SECONDS / timing.seconds_a_call(run, 2, 1)))

    def sample() -> float:
        before = probe()
        rate = work / timing.seconds_a_call(run, calls, 0)
        return 2 * rate / (before + probe())

    return statistics.median(timing.undisturbed(sample)[0] for _ in range(SAMPLES))


def shapes_of(networks: tuple = NETWORKS) -> Iterator[tuple[str, str, int, int, int]]:
    """Yield network, form, rows, inputs and units of every product of a training step."""
    for network in networks:
        for layer, (inputs, units) in enumerate(itertools.pairwise(network.sizes)):
            for form in FORMS:
                if form != "input_gradient" or layer > 0:
                    yield str(network), form, network.batch, inputs, units


def peak_report() -> list[str]:
    """Return the table of shares of the peak."""
    lines = ["| form | median | least | below 80 % | those |", "|:--|--:|--:|--:|:--|"]
    for form in FORMS:
        shares = {
            shape: 100 * share_of_peak(form, *shape) for shape in itertools.product(SIZES, repeat=3)
        }
        below = sorted((share, shape) for shape, share in shares.items() if share < 80)
        named = ", ".join(f"{'x'.join(map(str, shape))} {share:.0f}" for share, shape in below)
        values = shares.values()
        lines.append(
            f"| {form} | {statistics.median(values):.0f} % | {min(values):.0f} % | "
            f"{len(below)} of {len(shares)} | {named} |"
        )
    return lines


def ratio_report(shapes: Iterator, sides: Callable[..., tuple[Product, Product]]) -> list[str]:
    """Return a table of ratios: the second side's time divided by the first's."""
    lines = ["| network | form | size | ratio |", "|:--|:--|--:|--:|"]
    for network, form, *sizes in shapes:
        found = timing.paired(*sides(form, *sizes))
        text = f"{found['ratio']:.2f} ({found['ratio_q1']:.2f} to {found['ratio_q3']:.2f})"
        lines.append(f"| {network} | {form} | {' x '.join(map(str, sizes))} | {text} |")
    return lines


def two_and_one(form: str, *sizes: int) -> tuple[Product, Product]:
    """Return fastnn's product with two workers and with one."""
    return product(form, *sizes, workers=2), product(form, *sizes, workers=1)


def fastnn_and_torch(form: str, *sizes: int) -> tuple[Product, Product]:
    """Return the product in both libraries."""
    return product(form, *sizes, workers=1), torch_product(form, *sizes)


def section(title: str, lines: list[str]) -> None:
    """Print a table below its title."""
    print(f"## {title}\n", *lines, "", sep="\n", flush=True)


def main() -> None:
    """Print the three tables."""
    section("Share of one core's peak, M, N, K of " + ", ".join(map(str, SIZES)), peak_report())
    wide = shapes_of(NETWORKS[-2:])
    section("One worker's time over two workers'", ratio_report(wide, two_and_one))
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)
    title = f"Time of torch.mm {torch.__version__} over fastnn's, one thread each"
    section(title, ratio_report(shapes_of(), fastnn_and_torch))


if __name__ == "__main__":
    main()
