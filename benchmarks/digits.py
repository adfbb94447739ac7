"""The digits, compared with the same loop in eager PyTorch: accuracy on five splits, and time.

Run it as `python benchmarks/digits.py` where torch is installed as well. 64-128-10, relu, Adam
1e-3, batch 64, 50 epochs, pixels divided by 16. Both sides start from the same weights and take the
same batches of each split in the same order; PyTorch uses its fused Adam and the better of one
thread and its default.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

import fastnn as fnn

EPOCHS, BATCH, RATE = 50, 64, 1e-3


def build(seed: int) -> fnn.Sequential:
    """Return the network, compiled."""
    layers = [fnn.Dense(128, activation="relu"), fnn.Dense(10)]
    model = fnn.Sequential(layers, input_shape=(64,), seed=seed)
    model.compile(fnn.Adam(RATE), "crossentropy", metrics=["accuracy"])
    return model


def torch_fit(weights: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> torch.nn.Module:
    """Train the same network with PyTorch, from the same weights."""
    net = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    with torch.no_grad():
        for layer, kernel, bias in zip(net[::2], weights[::2], weights[1::2], strict=True):
            layer.weight.copy_(torch.from_numpy(kernel.T.copy()))
            layer.bias.copy_(torch.from_numpy(bias))
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, eps=1e-7, fused=True)
    loss_function = torch.nn.CrossEntropyLoss()
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(EPOCHS):
        order = torch.randperm(len(inputs))
        for first in range(0, len(inputs), BATCH):
            rows = order[first : first + BATCH]
            optimizer.zero_grad(set_to_none=True)
            loss_function(net(inputs[rows]), labels[rows]).backward()
            optimizer.step()
    return net


def main() -> None:
    """Print a line for each split, then the means and the median ratio."""
    x, y = fnn.datasets.load_digits()
    x = (x / 16).astype(np.float32)
    threads = torch.get_num_threads()
    accuracies, peers, ratios = [], [], []
    for seed in range(5):
        train, held_out = fnn.datasets.split(y, seed=seed)
        model = build(seed)
        weights = model.get_weights()
        began = time.perf_counter()
        model.fit(x[train], y[train], batch_size=BATCH, epochs=EPOCHS, verbose=0)
        ours = time.perf_counter() - began
        theirs = np.inf
        for count in {1, threads}:
            torch.set_num_threads(count)
            began = time.perf_counter()
            net = torch_fit(weights, x[train], y[train])
            theirs = min(theirs, time.perf_counter() - began)
        accuracies.append(model.evaluate(x[held_out], y[held_out])["accuracy"])
        with torch.inference_mode():
            classes = net(torch.from_numpy(x[held_out])).argmax(1).numpy()
        peers.append(float((classes == y[held_out]).mean()))
        ratios.append(theirs / ours)
        print(
            f"split {seed}: fastnn {accuracies[-1]:.4f} in {ours:.3f} s, "
            f"PyTorch {peers[-1]:.4f} in {theirs:.3f} s, ratio {ratios[-1]:.1f}"
        )
    facts = fnn.show_config("dict")
    assert facts is not None
    print(
        f"mean held-out accuracy: fastnn {statistics.mean(accuracies):.4f}, "
        f"PyTorch {statistics.mean(peers):.4f}; median ratio {statistics.median(ratios):.1f} "
        f"({facts['processor']}, {facts['isa']}, {facts['threads']} threads, "
        f"torch {torch.__version__})"
    )


if __name__ == "__main__":
    main()
