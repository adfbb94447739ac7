"""Model files as a stranger may send them: valid ones, taken apart, changed and put together."""

from __future__ import annotations

import io
import json

import numpy as np

import fastnn as fnn
from fastnn.exchange import tensor_file
from fastnn.tabular import Encoding, TabularModel, Target


def contents(model):
    """Return the bytes that a model saves."""
    file = io.BytesIO()
    model.save(file)
    return file.getvalue()


def compiled(units=6, layers=1):
    """Return a small compiled model that has made a step."""
    parts = [fnn.Dense(units, activation="relu", name=f"hidden_{i}") for i in range(layers)]
    model = fnn.Sequential([*parts, fnn.Dropout(0.3), fnn.Dense(3)], input_shape=(4,), seed=0)
    model.compile("adam", "crossentropy", ["accuracy"])
    model.fit(np.eye(4), np.array([0, 1, 2, 0]), epochs=1, verbose=0)
    return model


def functional():
    """Return a model with parts, several inputs, merges, a Residual, and an embedding."""
    a, b = fnn.Input((3,), name="a"), fnn.Input((2,), name="b")
    inner = fnn.Sequential([fnn.Dense(4, "tanh"), fnn.Dropout(0.2)], input_shape=(3,), name="part")
    h = fnn.Concatenate()([inner(a), fnn.Flatten()(fnn.Embedding([3, 4], 2)(b))])
    h = fnn.Residual([fnn.BatchNormalization(), fnn.Dense(8)])(h)
    model = fnn.Model([a, b], [fnn.Dense(2, name="x")(h), fnn.Dense(1, name="y")(h)], seed=1)
    model.compile(fnn.SGD(0.1, momentum=0.9), {"x": "mse", "y": "mae"})
    return model


def tabular():
    """Return a model with the columns of a table."""
    table = {
        "age": [31, 45, 52, 28, 39], "color": ["red", "blue", "red", "green", None],
        "on": ["2024-01-01", "2024-05-01", "2024-06-03", "2024-02-09", "2024-08-08"],
    }  # fmt: skip
    encoding = Encoding.fit(table)
    target = Target.fit(["no", "yes", "yes", "no", "perhaps"], name="answer")
    model = fnn.Sequential([fnn.Dense(3, "softmax")], input_shape=(encoding.inputs,), seed=0)
    return TabularModel(model, encoding, target, {"training": {"rows": 5}})


def taken_apart(content):
    """Return the header, the description, and the tensors as bytes."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    about = json.loads(header["__metadata__"]["fastnn"])
    return header, about, content[8 + size :]


def put_together(header, about, rest, *, is_signed=True):
    """Return the bytes of a file; unsigned ones have no checksum, as those of former versions."""
    metadata = {**header.get("__metadata__", {})}
    metadata["fastnn"] = about if isinstance(about, str) else json.dumps(about)
    metadata.pop(tensor_file.CHECKSUM, None)
    if is_signed:
        metadata[tensor_file.CHECKSUM] = tensor_file._ZEROS
    text = json.dumps({**header, "__metadata__": metadata}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    head = bytearray(len(text).to_bytes(8, "little") + text)
    if is_signed:
        place = tensor_file._place(head, tensor_file._ZEROS)
        head[place : place + 71] = tensor_file._checksum(head, memoryview(rest)).encode()
    return bytes(head) + rest


def with_description(content, change, **options):
    """Return a file whose description was changed."""
    header, about, rest = taken_apart(content)
    changed = change(about)
    return put_together(header, about if changed is None else changed, rest, **options)


def with_header(content, change, **options):
    """Return a file whose header was changed."""
    header, about, rest = taken_apart(content)
    change(header)
    return put_together(header, about, rest, **options)


def used(loaded):
    """Do what is done with a loaded model; what is wrong with its file must not appear here."""
    is_table = isinstance(loaded, TabularModel)
    model = loaded.model if is_table else loaded
    repr(loaded)
    model.summary(print_fn=lambda text: None)
    rng = np.random.default_rng(0)
    x = [rng.integers(0, 2, (4, *shape)).astype(float) for _, shape in model.input_shapes]
    x = x[0] if len(x) == 1 else x
    model.predict(x)
    if is_table:
        loaded.encoding.describe()
        loaded.decode(np.zeros((2, *model.output_shape)) + 0.1)
    contents(loaded)
