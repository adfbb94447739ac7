"""Mutations of valid model files, and what must hold of each: refused by `load`, or of use."""

from __future__ import annotations

import copy
import io
import sys
import warnings

import hostile_files
import numpy as np

import fastnn as fnn
from fastnn.exchange import model_file
from fastnn.tabular import TabularModel

LONGEST = 1000  # letters of a message


def _various():
    """Return a model of further layers, with a schedule, regularizers and a constraint each."""
    x, codes = fnn.Input((4,), name="x"), fnn.Input((4,), name="codes")
    parts = [
        fnn.LayerNormalization()(x), fnn.PReLU()(x), fnn.Scale()(x), fnn.Columns(0, 2)(x),
        fnn.PeriodicEmbedding(2, waves=3)(x), fnn.PiecewiseLinearEmbedding(2, bins=3)(x),
        fnn.Normalization()(x), fnn.Rescaling(0.5)(x), fnn.CategoryEncoding(3)(x),
        fnn.ParametricActivation("mish")(x), fnn.Reshape((4,))(fnn.Reshape((2, 2))(x)),
        fnn.Flatten()(fnn.Embedding(4, 2)(fnn.IntegerLookup(vocabulary=[5, 7])(codes))),
        fnn.Multiply()([x, x]), fnn.Average()([x, x]),
    ]  # fmt: skip
    member = fnn.Columns(0, 1)(x)
    parts.append(fnn.MemberDense(2, 3)([fnn.MemberScale(3)([x, member]), member]))
    h = fnn.Concatenate()(parts)
    h = fnn.Dense(
        3, "softmax", kernel_regularizer="l2", bias_initializer=fnn.initializers.get("normal")
    )(h)
    model = fnn.Model([x, codes], h, seed=2, dtype="float64")
    rate = fnn.schedules.CosineDecay(0.1, 100)
    model.compile(
        fnn.AdamW(rate, weight_decay=0.01, use_ema=True, gradient_accumulation_steps=2),
        "crossentropy", ["accuracy"], weighted_metrics=["accuracy"],
    )  # fmt: skip
    data = np.random.default_rng(0).integers(0, 2, (8, 4))
    model.fit([data, data], np.arange(8) % 3, epochs=1, verbose=0)
    return model


def bases():
    """Return valid files by name."""
    return {
        name: hostile_files.contents(model)
        for name, model in {
            "small": hostile_files.compiled(), "parts": hostile_files.functional(),
            "table": hostile_files.tabular(), "various": _various(),
        }.items()
    }  # fmt: skip


ODD = [
    None, True, False, 0, 1, -1, 2, 3, 7, 255, 256, 2**31 - 1, 2**31, 2**32, 2**53, 2**62, 2**63,
    2**64, 2**70, -(2**63), 10**6, 10**9, 10**12, 10**400, 0.0, -0.0, 0.5, -0.5, 1.0, 1e-300, 1e300,
    1e308, "", "a", "0", "1", "adam", "mse", "dense", "residual", "dropout", "embedding", "relu",
    "l2", "float64", "float32", "Sequential", "Model", "\x1b[2J", "\u202e", "\ud800", "/", "..",
    "x" * 5000, [], [0], [1], [-1], [1, 1], [2**62], [[]], [[1]], [None], ["a"], {}, {"a": 1},
    {"name": "adam"}, {"name": "mse"}, {"name": "zeros"}, {"name": "cosine_decay"}, [1] * 100,
    {"": None}, {"name": []}, {"name": "l2", "factor": 1e300}, [[[[]]]], [0] * 70,
]  # fmt: skip
KINDS = ("set", "delete", "copy", "swap", "rename", "append", "number", "odd text", "bytes", "cut")


def _places(value, found=None):
    """Return each place within JSON as (container, key)."""
    found, stack = [], [value]
    while stack:
        one = stack.pop()
        items = one.items() if isinstance(one, dict) else enumerate(one)
        for key, part in items:
            found.append((one, key))
            if isinstance(part, (dict, list)):
                stack.append(part)
    return found


def _mutated_json(value, kind, where, other, odd):
    """Change one place of JSON."""
    places = _places(value)
    if not places:
        return
    box, key = places[where % len(places)]
    from_box, from_key = places[other % len(places)]
    if kind == "set":
        box[key] = copy.deepcopy(ODD[odd % len(ODD)])
    elif kind == "delete":
        del box[key]
    elif kind == "copy":
        box[key] = copy.deepcopy(from_box[from_key])
    elif kind == "swap":
        one, another = copy.deepcopy(box[key]), copy.deepcopy(from_box[from_key])
        box[key], from_box[from_key] = another, one
    elif kind == "rename" and isinstance(box, dict):
        name = from_key if isinstance(from_key, str) else "other"
        box[name] = box.pop(key)
    elif kind == "append" and isinstance(box, list):
        box.append(copy.deepcopy(from_box[from_key]))
    elif kind == "number" and isinstance(box[key], (int, float)):
        step = [1, -1, 10**6, 0.5, -(2**33)][odd % 5]
        box[key] = box[key] + step
    elif kind == "odd text" and isinstance(box[key], str):
        odd_texts = [one for one in ODD if isinstance(one, str)]
        box[key] = box[key] + odd_texts[odd % len(odd_texts)]


def mutated(content, changes, *, is_signed):
    """Return a valid file after some changes.

    Parameters
    ----------
    content : bytes
    changes : list of (kind, is_header, where, other, odd)
        A kind of `KINDS`, whether the header is changed or the description, and numbers that say
        where and how.
    is_signed : bool
        Whether the file has the right checksum afterwards, or none; changes of bytes come last.
    """
    header, about, rest = hostile_files.taken_apart(content)
    for kind, is_header, where, other, odd in changes:
        if kind in ("bytes", "cut"):
            continue
        if is_header:
            plain = {key: one for key, one in header.items() if key != "__metadata__"}
            _mutated_json(plain, kind, where, other, odd)
            header = {"__metadata__": header["__metadata__"], **plain}
        else:
            _mutated_json(about, kind, where, other, odd)
    made = bytearray(hostile_files.put_together(header, about, rest, is_signed=is_signed))
    for kind, _, where, other, odd in changes:
        at = where % len(made) if made else 0
        if kind == "bytes":
            made[at : at + other % 3] = bytes([odd % 256]) * (odd % 4)
        elif kind == "cut":
            made[at : at + other % 1000] = b""
    return bytes(made)


def checked(content):
    """Load a file, and return whether that was refused; AssertionError for what may not be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            loaded = fnn.load(io.BytesIO(content))
        except fnn.FormatError as error:
            message = str(error)
            assert len(message) < LONGEST, message[:300]
            assert message.isprintable(), repr(message)
            return True
        _use(loaded)
    return False


def _use(loaded):
    model = loaded.model if isinstance(loaded, TabularModel) else loaded
    lines = []
    model.summary(print_fn=lines.append)
    for text in (repr(loaded), repr(model.optimizer), *lines):
        assert text.replace("\n", "").isprintable(), repr(text)
    x = [np.ones((3, *shape)) for _, shape in model.input_shapes]
    if sum(one.size for one in x) > 1e6:
        return
    x = x[0] if len(x) == 1 else x
    try:
        model.predict(x)
        if model.optimizer is not None:
            y = [np.zeros((3, *shape)) for shape in model.network.output_shapes]
            model.fit(x, y[0] if len(y) == 1 else y, epochs=1, verbose=0)
    except (ValueError, fnn.NonFiniteLossError):  # of these data
        pass
    except RuntimeError as error:
        if "has not measured any data yet" not in str(error):
            raise
    if isinstance(loaded, TabularModel):
        loaded.encoding.describe()
        loaded.decode(np.zeros((2, *model.output_shape)) + 0.1)
    model_file.save(model.network, io.BytesIO())


if __name__ == "__main__":  # python mutations.py FILE: say what happens to a file
    with open(sys.argv[1], "rb") as opened:
        print("refused" if checked(opened.read()) else "loaded")
