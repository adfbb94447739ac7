"""Twenty trainings that together use most of fastnn, each with the SHA-256 of its weights.

A change that is not meant to change any result leaves every line as it is: run this before and
after it, on the same machine, and compare. The bits differ between instruction sets, but not
between numbers of threads.

    python tools/reference_trainings.py > before.txt
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastnn as fnn

CLASSES = 10
X, LABELS = fnn.datasets.load_digits()
X = X / 16
INK = X.mean(axis=1)
TRAININGS: dict[str, Callable[[], fnn.Model]] = {}


def training(function: Callable[[], fnn.Model]) -> Callable[[], fnn.Model]:
    """Register a training under the name of its function."""
    TRAININGS[function.__name__] = function
    return function


def network(*layers: fnn.Layer, dtype: str = "float32") -> fnn.Model:
    """Return a network for the digits that ends with ten logits."""
    return fnn.Sequential([*layers, fnn.Dense(CLASSES)], input_shape=(64,), seed=1, dtype=dtype)


def fitted(model: fnn.Model, optimizer: object = "adam", **options: object) -> fnn.Model:
    """Train a network on the labels of the digits."""
    model.compile(optimizer, "crossentropy", metrics=["accuracy"])
    model.fit(X, LABELS, **{"epochs": 3, "verbose": 0, **options})
    return model


@training
def adam() -> fnn.Model:
    """The simplest: dense layers, relu, Adam."""
    return fitted(network(fnn.Dense(128, "relu")), batch_size=64)


@training
def adam_float64() -> fnn.Model:
    """The same in float64."""
    return fitted(network(fnn.Dense(128, "relu"), dtype="float64"), batch_size=64)


@training
def wide_enough_to_update_in_the_gradient() -> fnn.Model:
    """Layers whose updates are fused with their gradients."""
    return fitted(network(fnn.Dense(512, "relu"), fnn.Dense(512, "tanh")), epochs=1)


@training
def momentum_with_dropout() -> fnn.Model:
    """SGD with Nesterov momentum, dropout, a smooth activation."""
    layers = fnn.Dense(64, "gelu"), fnn.Dropout(0.2)
    return fitted(network(*layers), fnn.SGD(0.05, momentum=0.9, nesterov=True))


@training
def rmsprop_batch_normalization() -> fnn.Model:
    """Centered RMSprop; moving statistics are updated along with the parameters."""
    layers = fnn.Dense(64), fnn.BatchNormalization(), fnn.Activation("relu")
    return fitted(network(*layers), fnn.RMSprop(centered=True))


@training
def residual_layer_normalization() -> fnn.Model:
    """A block with a skip connection; AdamW with AMSGrad."""
    block = [fnn.LayerNormalization(), fnn.Dense(64, "silu"), fnn.Dense(64)]
    return fitted(network(fnn.Residual(block)), fnn.AdamW(1e-3, amsgrad=True))


@training
def clipped_average() -> fnn.Model:
    """Clipping by the global norm, a moving average, L2 and a schedule."""
    rate = fnn.schedules.CosineDecay(1e-2, decay_steps=100)
    optimizer = fnn.NAdam(rate, global_clipnorm=1.0, use_ema=True)
    return fitted(network(fnn.Dense(32, "elu", kernel_regularizer="l2")), optimizer)


@training
def frozen_layer_lion() -> fnn.Model:
    """One layer frozen, another with its own learning rate, PReLU; Lion."""
    model = network(fnn.Dense(32, "relu"), fnn.Dense(32), fnn.PReLU())
    model.layers[0].trainable = False
    model.layers[1].learning_rate_factor = 0.5
    return fitted(model, fnn.Lion(1e-4))


@training
def weighted_samples() -> fnn.Model:
    """Sample weights and class weights, Adagrad."""
    weights = np.linspace(0.5, 1.5, len(X))
    return fitted(
        network(fnn.Dense(32, "softplus")), fnn.Adagrad(0.1), sample_weight=weights,
        class_weight={0: 2.0},
    )  # fmt: skip


@training
def two_outputs() -> fnn.Model:
    """Two losses of one network, weighted."""
    inputs = fnn.Input((64,))
    h = fnn.Dense(32, "mish")(inputs)
    ends = [fnn.Dense(CLASSES, name="digit")(h), fnn.Dense(1, name="ink")(h)]
    model = fnn.Model(inputs, ends, seed=1)
    losses, weights = {"digit": "crossentropy", "ink": "huber"}, {"digit": 1.0, "ink": 0.1}
    model.compile("adam", losses, loss_weights=weights)
    model.fit(X, {"digit": LABELS, "ink": INK}, epochs=3, verbose=0)
    return model


@training
def categories() -> fnn.Model:
    """An Embedding combined with numerical inputs."""
    digit, pixels = fnn.Input((1,), name="digit"), fnn.Input((64,), name="pixels")
    h = fnn.Concatenate()([fnn.Flatten()(fnn.Embedding(CLASSES, 4)(digit)), pixels])
    model = fnn.Model([digit, pixels], fnn.Dense(1)(fnn.Dense(16, "relu")(h)), seed=1)
    model.compile("rmsprop", "mae")
    model.fit([LABELS[:, np.newaxis], X], INK, epochs=3, verbose=0)
    return model


@training
def sparse_rows() -> fnn.Model:
    """A SciPy matrix that stays sparse."""
    from scipy.sparse import csr_matrix

    model = network(fnn.Dense(64, "relu"))
    model.compile("adam", "crossentropy")
    model.fit(csr_matrix(X * (X > 0.5)), LABELS, epochs=3, verbose=0)
    return model


@training
def mapped_file() -> fnn.Model:
    """A memory-mapped file, small enough to be handled as an array."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        X.tofile(path)
        mapped = np.memmap(path, X.dtype, "r", shape=X.shape)
        model = network(fnn.Dense(32, "relu"))
        model.compile("adam", "crossentropy")
        model.fit(mapped, LABELS, epochs=2, verbose=0)
        return model


@training
def iterable_of_batches() -> fnn.Model:
    """A list of batches, of which an epoch uses some."""
    batches = [(X[i : i + 50], LABELS[i : i + 50]) for i in range(0, 500, 50)]
    model = network(fnn.Dense(32, "tanh"))
    model.compile("adam", "crossentropy")
    model.fit(batches, epochs=3, steps_per_epoch=8, verbose=0)
    return model


@training
def lbfgs() -> fnn.Model:
    """SciPy's iterations on all rows."""
    return fitted(network(fnn.Dense(16, "tanh"), dtype="float64"), fnn.LBFGS(), epochs=10)


@training
def early_stopping() -> fnn.Model:
    """The best weights are restored; the learning rate is lowered along the way."""
    callbacks = [fnn.EarlyStopping(patience=2), fnn.ReduceLROnPlateau(patience=1)]
    return fitted(
        network(fnn.Dense(32, "relu")), fnn.Adam(0.05), epochs=12, validation_split=0.25,
        callbacks=callbacks,
    )  # fmt: skip


@training
def batch_by_batch() -> fnn.Model:
    """`train_on_batch`, then single samples with `learn_one`."""
    model = network(fnn.Dense(16, "sigmoid"))
    model.compile("sgd", "crossentropy")
    for i in range(0, 640, 64):
        model.train_on_batch(X[i : i + 64], LABELS[i : i + 64])
    for i in range(200):
        model.learn_one(X[i], LABELS[i])
    return model


@training
def own_loop() -> fnn.Model:
    """Forward, a gradient computed by hand, backward, update."""
    model = network(fnn.Dense(32, "leaky_relu"), fnn.Dropout(0.1))
    model.compile("adam", "mse")
    one_hot = np.eye(CLASSES)[LABELS]
    for i in range(0, 640, 64):
        outputs = model.forward(X[i : i + 64], training=True)
        model.backward(2 * (outputs - one_hot[i : i + 64]) / outputs.size)
        model.apply_gradients()
    return model


class Sine(fnn.Layer):
    """A layer written with NumPy."""

    def forward(self, x: np.ndarray, *, training: bool) -> np.ndarray:
        """Return the sine of each number."""
        self.x = x
        return np.sin(x)

    def backward(self, grad_output: np.ndarray) -> np.ndarray:
        """Return the gradient with respect to x."""
        return grad_output * np.cos(self.x)


@training
def written_with_numpy() -> fnn.Model:
    """A user-defined layer and a user-defined loss."""

    def cubic(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return np.abs(y_pred - y_true) ** 3

    def slope(y_true: np.ndarray, y_pred: np.ndarray) -> np.ndarray:
        return 3 * (y_pred - y_true) * np.abs(y_pred - y_true)

    model = network(fnn.Dense(32), Sine())
    model.compile("adam", fnn.losses.Custom(cubic, slope))
    model.fit(X, np.eye(CLASSES)[LABELS], epochs=2, verbose=0)
    return model


@training
def after_loading() -> fnn.Model:
    """A network that is trained, saved, loaded, and trained further."""
    model = fitted(network(fnn.Dense(32, "selu"), fnn.Dropout(0.1)), epochs=2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.safetensors"
        model.save(path)
        model = fnn.load(path)
    model.fit(X, LABELS, epochs=2, verbose=0)
    return model


def fingerprint(model: fnn.Model) -> str:
    """Return the SHA-256 of all parameters and of the predictions for some rows."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(weight.tobytes())
    rng = np.random.default_rng(2)
    rows = [rng.integers(0, CLASSES, (7, *shape)) for _, shape in model.input_shapes]
    outputs = model.predict(rows[0] if len(rows) == 1 else rows)
    for output in outputs if isinstance(outputs, list) else [outputs]:
        digest.update(output.tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    for name, train in TRAININGS.items():
        print(f"{fingerprint(train())}  {name}", flush=True)
