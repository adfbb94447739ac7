"""Why a deep stack of sigmoids does not learn, and one of ReLUs does.

The derivative of the sigmoid is at most a quarter, so gradients shrink from layer to layer
on their way back to the input. The picture shows their magnitudes, layer by layer over the
epochs: on the left they fall by orders of magnitude from the last layer, below, to the first one;
on the right they do not.
`diagnose` says the same in words.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt

import fastnn as fnn
from fastnn import plots

HIDDEN_LAYERS = 5

x, y = fnn.datasets.load_digits()
train, held_out = fnn.datasets.hold_out(x / 16, y, 0.2, stratify=True, seed=0)

# One row for each kernel, from the first layer to the last; one column for each activation.
figure, rows = plt.subplots(
    HIDDEN_LAYERS + 1, 2, figsize=(8, 9.6), sharex=True, sharey=True, layout="constrained"
)
for panels, activation, initializer in (
    (rows[:, 0], "sigmoid", "glorot_uniform"),
    (rows[:, 1], "relu", "he_normal"),
):
    hidden = [
        fnn.Dense(32, activation, kernel_initializer=initializer, use_bias=False)
        for _ in range(HIDDEN_LAYERS)
    ]
    model = fnn.Sequential([*hidden, fnn.Dense(10, use_bias=False)], input_shape=(64,), seed=0)
    model.compile(fnn.SGD(0.1), "crossentropy", metrics=["accuracy"])
    print(f"--- {activation}, before training:")
    print(model.diagnose(*train))
    recorder = fnn.Recorder()
    model.fit(*train, epochs=20, verbose=0, callbacks=[recorder])
    print(f"after 20 epochs: {model.evaluate(*held_out)['accuracy']:.1%} of the held-out digits")
    plots.histograms(recorder, "gradients", ax=panels)
    for panel in panels:
        panel.set(title=f"{activation}, {panel.get_title()}", ylabel="")
    panels[0].get_legend().remove()
rows[0, 0].set_ylim(-8, -0.5)  # what is smaller, is as good as nothing
rows[HIDDEN_LAYERS // 2, 0].set_ylabel("log10 |gradient|")  # the same for all
figure.legend(*rows[0, 0].get_legend_handles_labels(), loc="outside lower center", frameon=False)
for panel in rows.flat:
    panel.label_outer()
figure.savefig(Path(*sys.argv[1:2], "vanishing_gradients.png"), dpi=80)
