"""Model files from strangers: one kind of error, a short message, and little memory."""

from __future__ import annotations

import copy
import io
import json
import os
import resource
import subprocess
import sys
import warnings

import hostile_files
import pytest
from hostile_files import compiled, contents, functional, put_together, tabular, taken_apart
from hostile_files import with_description as described
from hostile_files import with_header as headed
from safetensors.numpy import save

import fastnn as fnn
from fastnn.exchange import model_file

SMALL = contents(compiled())
PARTS = contents(functional())
TABLE = contents(tabular())


def first(about, where="layers"):
    return about["architecture"][where][0]


def config(about):
    return first(about)["config"]


def columns(about):
    return about["attachments"]["table"]["encoding"]["columns"]


def set_at(*path):
    """Return a function that sets what stands at a path of a description."""

    def change(about):
        *way, last, value = path
        for key in way:
            about = about[key]
        about[last] = value

    return change


def nested(depth, kind="["):
    return "[" * depth + "]" * depth if kind == "[" else '{"a":' * depth + "1" + "}" * depth


A = "architecture"
ESCAPE = "a\x1b]0;owned\x07\x1b[2J"
LONG = "n" * (1 << 20)

# Each changes the description of SMALL.
DESCRIPTIONS = {
    "units 10,000,000": lambda a: config(a).update(units=10_000_000),
    "units 2**70": lambda a: config(a).update(units=2**70),
    "units 2**62": lambda a: config(a).update(units=2**62),
    "units of a float": lambda a: config(a).update(units=6.0),
    "units true": lambda a: config(a).update(units=True),
    "units of a text": lambda a: config(a).update(units="6"),
    "units of a dict": lambda a: config(a).update(units={"a": 1}),
    "units 5": lambda a: config(a).update(units=5),
    "a negative step": set_at("step", -1),
    "a step of 2**70": set_at("step", 2**70),
    "a step of 2**63 - 1": set_at("step", 2**63 - 1),
    "a step of half": set_at("step", 0.5),
    "a step that is true": set_at("step", True),
    "no step": lambda a: a.pop("step"),
    "a negative key": set_at("key", -1),
    "a key of 2**70": set_at("key", 2**70),
    "a negative seed": set_at("seed", -3),
    "a seed of a list": set_at("seed", [1]),
    "accumulated": set_at("accumulated", 5),
    "accumulated -1": set_at("accumulated", -1),
    "a dtype of object": set_at("dtype", "object"),
    "a dtype of a list": set_at("dtype", ["float32"]),
    "another dtype": set_at("dtype", "float64"),
    "a generator of another kind": set_at("generator", "bit_generator", "MT19937"),
    "a generator that is none": set_at("generator", None),
    "a generator of 2**200": set_at("generator", "state", "state", 2**200),
    "a generator of -1": set_at("generator", "state", "inc", -1),
    "a negative integer in the generator": set_at("generator", "uinteger", -1),
    "a kind of a list": set_at("kind", ["Sequential"]),
    "frozen 3": set_at("frozen", 3),
    "frozen [[]]": set_at("frozen", [[]]),
    "names 3": set_at("names", 3),
    "names of lists": set_at("names", {"inputs": [[[]] * 4], "targets": [], "classes": []}),
    "names of other columns": set_at(
        "names", {"inputs": [["a", "b"]], "targets": [], "classes": []}
    ),
    "names twice": set_at("names", {"inputs": [["a"] * 4], "targets": [], "classes": []}),
    "classes of dicts": set_at("names", {"inputs": [], "targets": [], "classes": [[{}, {}, {}]]}),
    "too many names": set_at("names", {"inputs": [None] * 9, "targets": [], "classes": []}),
    "attachments 3": set_at("attachments", 3),
    "format true": set_at("format", True),
    "format 1.5": set_at("format", 1.5),
    "format -1": set_at("format", -1),
    "format 2**70": set_at("format", 2**70),
    "compile 3": set_at("compile", 3),
    "compile []": set_at("compile", []),
    "an argument of compile": set_at("compile", "jit", True),
    "no optimizer": set_at("compile", "optimizer", None),
    "an unknown optimizer": set_at("compile", "optimizer", "name", "worst"),
    "an optimizer of a list": set_at("compile", "optimizer", "name", []),
    "another optimizer": set_at("compile", "optimizer", {"name": "rmsprop", "centered": True}),
    "a rate of infinity": lambda a: json.dumps(a).replace("0.001", "Infinity", 1),
    "a rate of NaN": lambda a: json.dumps(a).replace("0.001", "NaN", 1),
    "a rate of 1e999": lambda a: json.dumps(a).replace("0.001", "1e999", 1),
    "a schedule of nothing": set_at("compile", "optimizer", "learning_rate", {"name": "none"}),
    "a schedule of a list": set_at("compile", "optimizer", "learning_rate", [1]),
    "loss 3": set_at("compile", "loss", 3),
    "a loss of lists": set_at("compile", "loss", [[]]),
    "two losses": lambda a: a["compile"].update(loss=a["compile"]["loss"] * 2),
    "metrics 3": set_at("compile", "metrics", 3),
    "metrics of numbers": set_at("compile", "metrics", [[3]]),
    "metrics of null": set_at("compile", "metrics", [[None]]),
    "an unknown metric": set_at("compile", "metrics", [["goodness"]]),
    "a metric function of a list": set_at("compile", "metrics", [[{"function": []}]]),
    "loss weights of texts": set_at("compile", "loss_weights", ["a"]),
    "a weight of -1": set_at("compile", "loss_weights", [-1.0]),
    "no layers": set_at(A, "layers", []),
    "layers of numbers": set_at(A, "layers", [1, 2]),
    "layers of a dict": set_at(A, "layers", {}),
    "a layer of an unknown kind": lambda a: first(a).update(kind="convolution"),
    "a kind of a dict": lambda a: first(a).update(kind={}),
    "a name of a megabyte": lambda a: first(a).update(name=LONG, path=LONG),
    "a kind of a megabyte": lambda a: first(a).update(kind=LONG),
    "an activation of a megabyte": lambda a: config(a).update(activation=LONG),
    "an argument of a megabyte": lambda a: config(a).update({LONG: 1}),
    "an escape sequence in a name": lambda a: first(a).update(name=ESCAPE, path=ESCAPE),
    "an escape sequence in a kind": lambda a: first(a).update(kind=ESCAPE),
    "an escape sequence in an activation": lambda a: config(a).update(activation=ESCAPE),
    "an escape sequence in a loss": set_at("compile", "loss", [{"name": ESCAPE}]),
    "an escape sequence in an input": lambda a: first(a, "inputs").update(name=ESCAPE),
    "a name that is empty": lambda a: first(a, "steps").update(name=""),
    "a name with a slash": lambda a: first(a, "steps").update(name="a/b"),
    "a name that is a number": lambda a: first(a, "steps").update(name=3),
    "the name of another layer": lambda a: first(a, "steps").update(name="dense"),
    "two layers of one path": lambda a: first(a).update(path="dense"),
    "a layer twice": lambda a: a[A]["layers"].append(first(a)),
    "a layer that is not used": lambda a: a[A]["layers"].append({**first(a), "path": "other"}),
    "a step of no layer": lambda a: first(a, "steps").update(layer="none"),
    "a step of a list": lambda a: first(a, "steps").update(layer=[]),
    "no steps": set_at(A, "steps", []),
    "steps 3": set_at(A, "steps", 3),
    "no inputs": set_at(A, "inputs", []),
    "an input of -4": lambda a: first(a, "inputs").update(shape=[-4]),
    "an input of 2**70": lambda a: first(a, "inputs").update(shape=[2**70]),
    "an input of 2**40 twice": lambda a: first(a, "inputs").update(shape=[2**40, 2**40]),
    "an input of 5": lambda a: first(a, "inputs").update(shape=[5]),
    "an input of nothing": lambda a: first(a, "inputs").update(shape=[]),
    "an input of 1.5": lambda a: first(a, "inputs").update(shape=[4.0]),
    "an input of 65 axes": lambda a: first(a, "inputs").update(shape=[1] * 65 + [4]),
    "a rate of dropout": lambda a: a[A]["layers"][1]["config"].update(rate=2),
    "trainable maybe": lambda a: first(a).update(trainable="maybe"),
    "a factor of a parameter that there is not": lambda a: first(a).update(
        learning_rate_factor={"gamma": 0.5}
    ),
    "a factor of -1": lambda a: first(a).update(learning_rate_factor=-1),
    "an escape sequence in a block": lambda a: first(a).update(
        kind="residual",
        config={"block": [{"kind": "dropout", "name": ESCAPE, "config": {"rate": 0.1}}]},
    ),
    "a Residual in itself": lambda a: first(a).update(
        kind="residual", config={"block": [{"kind": "residual", "name": "r", "config": {}}]}
    ),
    "one hot of 2**40": lambda a: a[A]["layers"].__setitem__(
        1, a[A]["layers"][1] | {"kind": "category_encoding", "config": {"num_tokens": 2**40}}
    ),
    "100,000 nested lists": lambda a: nested(100_000),
    "100,000 nested dicts": lambda a: nested(100_000, "{"),
    "nested attachments": lambda a: json.dumps(a).replace(
        '"attachments": {}', f'"attachments": {{"a": {nested(900)}}}'
    ),
    "a key twice": lambda a: json.dumps(a).replace('"step"', '"step": 3, "step"', 1),
    "Infinity for the step": lambda a: json.dumps(a).replace('"step": 1', '"step": Infinity', 1),
    "an integer of 10,000 digits": lambda a: json.dumps(a).replace(
        '"step": 1', '"step": ' + "9" * 10_000, 1
    ),
    "nothing": lambda a: "",
    "null": lambda a: "null",
    "a text": lambda a: '"fastnn"',
    "half": lambda a: json.dumps(a)[:300],
    "text behind": lambda a: json.dumps(a) + "{}",
    "the table of another file": set_at("attachments", {"table": []}),
}  # fmt: skip

# Each changes the description of PARTS.
OF_PARTS = {
    "a part that contains itself": lambda a: a[A]["models"]["part"].update(
        models={"part": {**a[A]["models"]["part"]}}
    ),
    "a part that is not used": lambda a: a[A]["models"].update(other=a[A]["models"]["part"]),
    "a part of an unknown kind": lambda a: a[A]["models"]["part"].update(kind="Network"),
    "a part with a larger input": lambda a: a[A]["models"]["part"]["inputs"][0].update(shape=[9]),
    "a position of -1": lambda a: a[A]["steps"][-1].update(inputs=[-1]),
    "a position of itself": lambda a: a[A]["steps"][0].update(inputs=[2]),
    "a position of true": lambda a: a[A]["steps"][0].update(inputs=[True]),
    "a position of 10**9": lambda a: a[A]["steps"][0].update(inputs=[10**9]),
    "positions of a text": lambda a: a[A]["steps"][0].update(inputs="0"),
    "an output of -1": lambda a: a[A].update(outputs=[-1, -2]),
    "an output twice": lambda a: a[A].update(outputs=[a[A]["outputs"][0]] * 2),
    "no outputs": lambda a: a[A].update(outputs=[]),
    "categories of 10**12": lambda a: next(
        one for one in a[A]["layers"] if one["kind"] == "embedding"
    )["config"].update(categories=[10**12, 4]),
    "the slot of another optimizer": lambda a: a["compile"].update(optimizer={"name": "adam"}),
    "two inputs of one name": lambda a: a[A]["inputs"][1].update(name=[]),
}

LOOKUPS = contents(
    fnn.Sequential(
        [fnn.IntegerLookup(vocabulary=[5, 7]), fnn.Embedding(3, 2), fnn.Flatten()], input_shape=(2,)
    )
)
# Each changes the description of LOOKUPS.
OF_LOOKUPS = {
    "a vocabulary of 2**70": lambda a: config(a).update(vocabulary=[5, 2**70]),
    "a vocabulary of -(2**64)": lambda a: config(a).update(vocabulary=[5, -(2**64)]),
    "a vocabulary of texts": lambda a: config(a).update(vocabulary=["a", "b"]),
    "a token of 2**64": lambda a: config(a).update(oov_token=2**64),
    "a mask of 2**64": lambda a: config(a).update(mask_token=2**64),
    "numbers of 2**64": lambda a: config(a).update(num_oov_indices=2**64),
}

# Each changes the description of TABLE.
OF_TABLES = {
    "columns 3": lambda a: a["attachments"]["table"].update(encoding={"columns": 3}),
    "no columns": lambda a: a["attachments"]["table"].update(encoding={"columns": []}),
    "a column of no kind": lambda a: columns(a)[0].update(kind="none"),
    "a column of a list": lambda a: columns(a)[0].update(kind=[]),
    "a column twice": lambda a: columns(a).append(columns(a)[0]),
    "a column less": lambda a: columns(a).pop(),
    "a name of a number": lambda a: columns(a)[0].update(name=3),
    "arrays of 10**12": lambda a: columns(a)[0].update(arrays=[10**12]),
    "arrays of -1": lambda a: columns(a)[0].update(arrays=[-1]),
    "arrays of true": lambda a: columns(a)[0].update(arrays=[True, True]),
    "arrays of a text": lambda a: columns(a)[0].update(arrays="12"),
    "missing 2**70": lambda a: columns(a)[0].update(missing=2**70),
    "missing -1": lambda a: columns(a)[0].update(missing=-1),
    "parts of a list": lambda a: columns(a)[0].update(parts=[]),
    "parts of lists": lambda a: columns(a)[0].update(parts={"": []}),
    "words of numbers": lambda a: columns(a)[0].update(words=[1]),
    "words 3": lambda a: columns(a)[0].update(words=3),
    "decimal 3": lambda a: columns(a)[0].update(decimal=[]),
    "known of numbers": lambda a: columns(a)[1].update(known=[1, 2]),
    "known of lists": lambda a: columns(a)[1].update(known=[[]]),
    "known twice": lambda a: columns(a)[1].update(known=["red"] * len(columns(a)[1]["known"])),
    "known of a text": lambda a: columns(a)[1].update(known="red"),
    "another layout": lambda a: columns(a)[1].update(layout="columns"),
    "no target": lambda a: a["attachments"]["table"].update(target=None),
    "a target of a list": lambda a: a["attachments"]["table"].update(target=[]),
    "classes of nothing": lambda a: a["attachments"]["table"]["target"].update(classes=[]),
    "one class": lambda a: a["attachments"]["table"]["target"].update(classes=["a"], counts=[1]),
    "classes of dicts": lambda a: a["attachments"]["table"]["target"].update(classes=[{}, {}, {}]),
    "classes of a text": lambda a: a["attachments"]["table"]["target"].update(classes="abc"),
    "four classes": lambda a: a["attachments"]["table"]["target"].update(
        classes=["a", "b", "c", "d"], counts=[1, 1, 1, 1]
    ),
    "a dtype of objects": lambda a: a["attachments"]["table"]["target"].update(dtype="O8"),
    "a dtype of 10**9 letters": lambda a: a["attachments"]["table"]["target"].update(
        dtype="<U1000000000"
    ),
    "a dtype of fields": lambda a: a["attachments"]["table"]["target"].update(dtype="i4,i4"),
    "counts of a text": lambda a: a["attachments"]["table"]["target"].update(counts="123"),
    "counts of 2**70": lambda a: a["attachments"]["table"]["target"].update(counts=[2**70] * 3),
    "one count": lambda a: a["attachments"]["table"]["target"].update(counts=[3]),
    "a mean of NaN": lambda a: a["attachments"]["table"]["target"].update(mean=float("nan")),
    "a scale of 0": lambda a: a["attachments"]["table"]["target"].update(scale=0.0),
    "a scale of true": lambda a: a["attachments"]["table"]["target"].update(scale=[1]),
    "another task": lambda a: a["attachments"]["table"]["target"].update(task="regression"),
    "a further entry": lambda a: a["attachments"]["table"]["target"].update(more=1),
    "missing of a text": lambda a: a["attachments"]["table"]["target"].update(missing="many"),
    "a threshold of a text": lambda a: a["attachments"]["table"].update(threshold="half"),
    "a threshold of NaN": lambda a: a["attachments"]["table"].update(threshold=float("nan")),
    "quantiles 3": lambda a: a["attachments"].update(quantiles=3),
    "quantiles of texts": lambda a: a["attachments"].update(quantiles=["a"]),
    "intervals 3": lambda a: a["attachments"].update(intervals=3),
    "intervals of texts": lambda a: a["attachments"].update(
        intervals={"errors": ["a"], "low": 0, "high": 0}
    ),
    "intervals around another output": lambda a: a["attachments"].update(
        intervals={"errors": [1.0], "low": 0, "high": 99}
    ),
    "intervals of 2**70 rows": lambda a: a["attachments"].update(
        intervals={"errors": [1.0], "low": 0, "high": 0, "rows": -5}
    ),
}  # fmt: skip


def kernel(header):
    return header["parameters/dense/kernel"]


# Each changes the header of SMALL.
HEADERS = {
    "a shape of -1": lambda h: kernel(h).update(shape=[-6, -3]),
    "a shape of 2**70": lambda h: kernel(h).update(shape=[2**70]),
    "a shape whose product wraps": lambda h: kernel(h).update(shape=[2**32, 2**32, 18]),
    "a shape of 1,000 axes": lambda h: kernel(h).update(shape=[1] * 1000 + [18]),
    "a shape of floats": lambda h: kernel(h).update(shape=[6.0, 3.0]),
    "a shape of a text": lambda h: kernel(h).update(shape="63"),
    "a shape of true": lambda h: kernel(h).update(shape=[True, 18]),
    "another shape": lambda h: kernel(h).update(shape=[3, 6]),
    "a larger shape": lambda h: kernel(h).update(shape=[6, 4]),
    "no shape": lambda h: kernel(h).pop("shape"),
    "a further entry": lambda h: kernel(h).update(strides=[1]),
    "an entry of a list": lambda h: h.update({"parameters/dense/kernel": []}),
    "another dtype": lambda h: kernel(h).update(dtype="I32"),
    "an unknown dtype": lambda h: kernel(h).update(dtype="F99"),
    "a dtype of a list": lambda h: kernel(h).update(dtype=["F32"]),
    "a dtype of a megabyte": lambda h: kernel(h).update(dtype=LONG),
    "an offset of -1": lambda h: kernel(h).update(data_offsets=[-72, 0]),
    "an offset of 2**70": lambda h: kernel(h).update(data_offsets=[2**70, 2**70 + 72]),
    "an offset behind the end": lambda h: kernel(h).update(data_offsets=[10**6, 10**6 + 72]),
    "offsets that overlap": lambda h: kernel(h).update(data_offsets=[0, 72]),
    "offsets of floats": lambda h: kernel(h).update(data_offsets=[0.0, 72.0]),
    "three offsets": lambda h: kernel(h).update(data_offsets=[0, 72, 72]),
    "a tensor less": lambda h: h.pop("parameters/dense/kernel"),
    "a tensor of another name": lambda h: h.update(
        {"parameters/other/kernel": h.pop("parameters/dense/kernel")}
    ),
    "a tensor of a name of a megabyte": lambda h: h.update({LONG: h.pop("parameters/dense/bias")}),
    "an escape sequence in a tensor's name": lambda h: h.update(
        {ESCAPE: h.pop("parameters/dense/bias")}
    ),
    "a tensor more": lambda h: h.update(
        {"parameters/more": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}
    ),
    "a tensor nobody knows": lambda h: h.update(
        {"secret": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}
    ),
    "metadata of numbers": lambda h: h["__metadata__"].update(a=3),
}


def raw(change):
    """Return bytes that were changed after they were put together."""
    content = bytearray(SMALL)
    changed = change(content)
    return bytes(content if changed is None else changed)


def of_size(content, size):
    content[:8] = size.to_bytes(8, "little")


def twice_in_header(content):
    size = int.from_bytes(content[:8], "little")
    text = content[8 : 8 + size].replace(
        b'"parameters/dense/bias"', b'"parameters/dense/bias":1,"parameters/dense/bias"', 1
    )
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


RAW = {
    "nothing": lambda c: b"",
    "one byte": lambda c: c[:1],
    "eight bytes": lambda c: c[:8],
    "text": lambda c: b"this is something else, and long enough to be read\n",
    "a pickle": lambda c: b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06",
    "a zip": lambda c: b"PK\x03\x04" + bytes(100),
    "zeros": lambda c: bytes(1000),
    "a header of 2**64 - 1": lambda c: of_size(c, 2**64 - 1),
    "a header of 2**40": lambda c: of_size(c, 2**40),
    "a header that is too short": lambda c: of_size(c, 100),
    "an empty header": lambda c: of_size(c, 0),
    "a header of spaces": lambda c: (200).to_bytes(8, "little") + b" " * 200,
    "a header of a list": lambda c: (16).to_bytes(8, "little") + b"[[], [], [], []]",
    "a header of nested lists": lambda c: (200_000).to_bytes(8, "little") + b"[" * 200_000,
    "a header that is no UTF-8": lambda c: (8).to_bytes(8, "little") + b'{"\xff":1}' + bytes(8),
    "a name twice": twice_in_header,
    "a byte behind": lambda c: c + b"\0",
    "a megabyte behind": lambda c: c + bytes(1 << 20),
    "the file twice": lambda c: c + c,
    "without the last byte": lambda c: c[:-1],
    "half": lambda c: c[: len(c) // 2],
    "a bit of a tensor": lambda c: c.__setitem__(-3, c[-3] ^ 4),
}  # fmt: skip


def attacks():
    for label, content, changes, change_by in (
        ("description", SMALL, DESCRIPTIONS, described), ("parts", PARTS, OF_PARTS, described),
        ("lookups", LOOKUPS, OF_LOOKUPS, described), ("table", TABLE, OF_TABLES, described),
        ("header", SMALL, HEADERS, headed),
    ):  # fmt: skip
        for name, change in changes.items():
            for is_signed in (True, False):
                made = change_by(content, change, is_signed=is_signed)
                yield pytest.param(made, id=f"{label}: {name}{', signed' * is_signed}")
    for name, change in RAW.items():
        yield pytest.param(raw(change), id=f"bytes: {name}")


def refused(content, file=None):
    """Load a file that must be refused, and return the message."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(fnn.FormatError) as caught:
            fnn.load(file or io.BytesIO(content))
    message = str(caught.value)
    assert message.startswith("path: ")
    assert len(message) < 1000
    assert message.isprintable(), repr(message)
    assert isinstance(caught.value, ValueError)
    return message


@pytest.mark.parametrize("content", list(attacks()))
def test_what_is_wrong_with_a_file_is_a_format_error(content):
    refused(content)


@pytest.mark.parametrize("content", [SMALL, PARTS, TABLE], ids=["small", "parts", "table"])
def test_the_valid_files_that_are_changed_above_load(content):
    hostile_files.used(fnn.load(io.BytesIO(content)))
    header, about, rest = taken_apart(content)
    for is_signed in (True, False):
        made = put_together(header, about, rest, is_signed=is_signed)
        hostile_files.used(fnn.load(io.BytesIO(made)))


def test_every_flipped_bit_is_found():
    """Each bit of a small file, one after the other."""
    model = fnn.Sequential([fnn.Dense(2)], input_shape=(3,), seed=0)
    content = bytearray(contents(model))
    silent = []
    for place in range(len(content)):
        for bit in range(8):
            content[place] ^= 1 << bit
            try:
                fnn.load(io.BytesIO(content))
                silent.append((place, bit))
            except fnn.FormatError:
                pass
            content[place] ^= 1 << bit
    assert len(content) * 8 > 9_000
    assert silent == []


def test_the_weights_alone_have_a_checksum_too(tmp_path):
    model, path = compiled(), tmp_path / "weights"
    model.save_weights(path)
    content = path.read_bytes()
    model.load_weights(io.BytesIO(content))
    for place in (-1, -40, content.index(b"checksum"), content.index(b"sha256:") + 10):
        damaged = bytearray(content)
        damaged[place] ^= 1
        with pytest.raises(fnn.FormatError):
            model.load_weights(io.BytesIO(damaged))


def test_the_same_model_has_the_same_bytes():
    model = compiled()
    assert len({contents(model) for _ in range(20)}) == 1
    assert contents(fnn.load(io.BytesIO(SMALL))) == SMALL


def test_the_safetensors_library_reads_what_is_saved_and_the_other_way_round(tmp_path):
    from safetensors.numpy import load

    content = contents(compiled())
    tensors = load(content)
    _, about, _ = taken_apart(content)
    again = fnn.load(io.BytesIO(save(tensors, {"fastnn": json.dumps(about)})))
    assert contents(again)[-100:] == content[-100:]


@pytest.mark.parametrize("name", [ESCAPE, "a\nb", LONG])
def test_a_name_that_a_file_may_not_hold_is_not_saved(name):
    entrance, file = fnn.Input((2,), name=name), io.BytesIO()
    for model in (
        fnn.Sequential([fnn.Dense(2, name=name)], input_shape=(2,)),
        fnn.Sequential([fnn.Residual([fnn.Dropout(0.1, name=name)])], input_shape=(2,)),
        fnn.Model(entrance, fnn.Dense(2)(entrance)),
    ):
        with pytest.raises(ValueError, match="no control characters") as caught:
            model.save(file)
        assert len(str(caught.value)) < 300
        assert copy.deepcopy(model).count_parameters() == model.count_parameters()
    assert file.getvalue() == b""
    odd = fnn.Sequential([fnn.Dense(2, name="層 é")], input_shape=(2,))
    assert fnn.load(io.BytesIO(contents(odd))).layers[0].name == "層 é"


def test_what_nests_too_deeply_is_not_saved():
    file, network, deep = io.BytesIO(), compiled().network, {"a": json.loads(nested(900))}
    with pytest.raises(ValueError, match="nested too deeply"):
        model_file.save(network, file, attachments=deep)
    assert file.getvalue() == b""


INTEGERS = [
    (cls, name)
    for registry in (fnn.schedules.registry, fnn.optimizers.registry, fnn.metrics.registry)
    for cls in map(registry.__getitem__, registry)
    for name, field in cls.fields().items()
    if set(field.bounds) == {"least"} or name == "cycles"
]


@pytest.mark.parametrize(("cls", "name"), INTEGERS)
def test_numbers_that_could_not_be_used_later_are_refused_where_they_are_given(cls, name):
    assert len(INTEGERS) > 15
    lists = {"boundaries": [1], "values": [0.1, 0.2]}
    needed = [key for key, field in cls.fields().items() if field.is_required]
    required = {key: lists.get(key, 0.1) for key in needed}
    integers = {key: 10 for one, key in INTEGERS if one is cls and key in required}
    for number in (2**63, 2**70):
        with pytest.raises(ValueError, match=f"{name} must be an integer of at most"):
            cls(**required | integers | {name: number})


# --- memory and time ------------------------------------------------------------------------------

LOADING = """
import io, resource, sys
import fastnn as fnn
content = sys.stdin.buffer.read()
fnn.load(io.BytesIO({small!r}))  # what is imported or made on first use
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    fnn.load(io.BytesIO(content))
except fnn.FormatError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def large():
    """Yield files that describe much in little."""
    yield "units", described(SMALL, lambda a: config(a).update(units=10_000_000))
    yield "units that others read", described(SMALL, lambda a: config(a).update(units=10**8))
    yield "an input", described(SMALL, lambda a: first(a, "inputs").update(shape=[10**8]))
    yield "one hot", described(
        SMALL, lambda a: a[A]["layers"].__setitem__(
            1, a[A]["layers"][1] | {"kind": "category_encoding", "config": {"num_tokens": 10**9}}
        )
    )  # fmt: skip
    yield "letters", described(TABLE, OF_TABLES["a dtype of 10**9 letters"])
    yield "a megabyte of lists", described(SMALL, lambda a: "[" + "[]," * 350_000 + "[]]")
    yield "categories", described(PARTS, OF_PARTS["categories of 10**12"])


QUICK = ("units", "a megabyte of lists")  # the others each take a process of their own, too


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(c, id=n, marks=[] if n in QUICK else [pytest.mark.slow]) for n, c in large()
    ],
)  # fmt: skip
def test_little_is_allocated_before_all_agrees(content):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

    found = subprocess.run(
        [sys.executable, "-P", "-c", LOADING.format(small=SMALL)],
        input=content, capture_output=True, timeout=100, preexec_fn=limit, check=True,
    )  # fmt: skip
    assert int(found.stdout) * 1024 < len(content) + (64 << 20)


def calls_of(count):
    """Return how many calls of Python it takes to build, save and load a model of many layers."""
    calls = 0

    def counted(frame, event, argument):
        nonlocal calls
        calls += event != "return"

    sys.setprofile(counted)
    try:
        parts = [fnn.Dense(2) for _ in range(count)]
        model = fnn.Sequential(parts, input_shape=(2,), seed=0)
        model.compile("adam", "mse")
        fnn.load(io.BytesIO(contents(model)))
    finally:
        sys.setprofile(None)
    return calls


def test_work_is_linear_in_the_number_of_layers():
    calls_of(10)
    few, many = calls_of(100), calls_of(400)
    assert many < 4.4 * few


def test_a_layer_looks_only_at_its_own_parameters():
    """Work that makes no calls: names, and which parameters are whose."""
    from fastnn.layers.base import name_layers

    looked = 0

    class Name(str):
        __slots__ = ()

        def __hash__(self):
            nonlocal looked
            looked += 1
            return super().__hash__()

    layers = [fnn.Dense(2, name=Name(f"layer_{i}")) for i in range(300)]
    looked = 0
    assert len(name_layers(layers)) == 300
    assert looked < 10 * 300


def test_a_file_of_a_terabyte_is_refused_by_its_first_bytes(tmp_path):
    for head in (bytes(8), (10**9).to_bytes(8, "little"), SMALL):
        path = tmp_path / "m"
        path.write_bytes(head)
        os.truncate(path, 1 << 40)
        refused(None, path)
        with open(path, "rb") as file:
            refused(None, file)


# --- what is honest -------------------------------------------------------------------------------


def test_big_numbers_that_are_honest_load():
    wide = fnn.Sequential([fnn.Dense(200_000, name="wide")], input_shape=(3,), seed=2**70)
    again = fnn.load(io.BytesIO(contents(wide)))
    assert again.seed == 2**70
    assert again.get_weights()[0].tobytes() == wide.get_weights()[0].tobytes()
    deep = fnn.Sequential([fnn.Dense(2) for _ in range(600)], input_shape=(2,), seed=0)
    assert len(fnn.load(io.BytesIO(contents(deep))).layers) == 600
    inner = fnn.Dense(2)
    for _ in range(20):
        inner = fnn.Residual([inner])
    nest = fnn.Sequential([inner], input_shape=(2,), seed=0)
    assert contents(fnn.load(io.BytesIO(contents(nest)))) == contents(nest)
    one_hot = [fnn.CategoryEncoding(50_000), fnn.Dense(1)]
    hot = fnn.Sequential(one_hot, input_shape=(1,), seed=0)
    assert fnn.load(io.BytesIO(contents(hot))).count_parameters() == 50_001
    model = compiled()
    model.network.runtime.step = 10**12
    assert fnn.load(io.BytesIO(contents(model))).network.runtime.step == 10**12
