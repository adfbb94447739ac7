"""Random models of any layers, activations, losses and penalties: gradients match differences.

A composition is drawn by hypothesis, so that a failing one is reduced before it is shown, as the
calls that build it. Its numbers come from NumPy: kinks (relu's 0) are then hit with probability 0,
which would not hold with zero biases or round weights.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, note, settings
from hypothesis import strategies as st

import fastnn as fnn
from fastnn.program import ops

WIDTHS = [1, 2, 3, 4, 5, 9]  # 9 is more than a float64 vector of any ISA holds
NORMAL = fnn.initializers.Normal(0.0, 0.5)
NEAR_ONE = fnn.initializers.Normal(1.0, 0.3)
LOSSES = {
    "huber": lambda: fnn.Huber(0.7),
    "quantile": lambda: fnn.losses.Quantile(0.8),
    "binary_crossentropy": lambda: fnn.losses.BinaryCrossentropy(0.1),
    "crossentropy": lambda: fnn.losses.Crossentropy(0.2),
}  # in addition to those that their names stand for


class Sine(fnn.Layer):
    """sin(factor * x), as a user would write it."""

    kind = "test_sine"

    def build(self, input_shape):
        self.add_weight("factor", input_shape, NEAR_ONE)

    def forward(self, x, *, training):
        self.x = x
        return np.sin(self.parameters["factor"] * x)

    def backward(self, grad_output):
        slope = grad_output * np.cos(self.parameters["factor"] * self.x)
        self.gradients["factor"][...] = (slope * self.x).sum(axis=0)
        return slope * self.parameters["factor"]


@dataclass
class Composer:
    """Draws a model, and reports what it has drawn."""

    draw: Any
    used: Counter = field(default_factory=Counter)
    inputs: list = field(default_factory=list)
    categories: list = field(default_factory=list)  # of each input; 0 if it holds numbers
    tensors: list = field(default_factory=list)
    names: dict = field(default_factory=dict)  # of tensors, by id

    def flag(self):
        return self.draw(st.booleans())

    def among(self, options):
        return self.draw(st.sampled_from(list(options)))

    def width(self, least=1):
        return self.among(width for width in WIDTHS if width >= least)

    def activation(self):
        name = self.among([*fnn.activations.NAMES, "custom"])
        self.used[name] += 1
        return fnn.activations.Custom(np.sin, np.cos) if name == "custom" else name

    def penalty(self):
        if self.draw(st.integers(0, 3)) != 3:
            return None
        name = self.among(fnn.regularizers.registry)
        self.used[name] += 1
        return {"l1_l2": fnn.regularizers.L1L2(0.02, 0.03)}.get(name, name)

    def input(self, width, categories=0):
        tensor = fnn.Input((width,), name=f"x{len(self.inputs)}")
        self.names[id(tensor)] = tensor.name
        self.inputs.append(tensor)
        self.categories.append(categories)
        return tensor

    def dense(self, units, **options):
        use_bias = self.flag()
        options = {"activation": self.activation(), "use_bias": use_bias, **options}
        return fnn.Dense(
            units, bias_initializer=NORMAL, kernel_regularizer=self.penalty(),
            bias_regularizer=self.penalty() if use_bias else None, **options,
        )  # fmt: skip

    def call(self, layer, *tensors):
        """The output of a layer, which is remembered."""
        result = layer(list(tensors) if len(tensors) > 1 else tensors[0])
        self.used[layer.kind] += 1
        self.tensors.append(result)
        self.names[id(result)] = name = f"h{len(self.tensors)}"
        read = ", ".join(self.names[id(tensor)] for tensor in tensors)
        note(f"{name} {result.shape} = {type(layer).__name__} {layer.config()} of {read}")
        return result

    def one(self):
        """One of the tensors so far; later ones are more likely."""
        return self.tensors[-1 - self.draw(st.integers(0, len(self.tensors) - 1))]

    def flat(self):
        tensor = self.one()
        return tensor if len(tensor.shape) == 1 else self.call(fnn.Flatten(), tensor)

    def like(self, tensor):
        """A tensor of the same shape: an existing one, or a new one."""
        same = [other for other in self.tensors if other.shape == tensor.shape]
        if len(tensor.shape) > 1 or self.flag():
            return self.among(same)
        return self.call(self.dense(tensor.shape[0]), self.flat())

    def unary(self, width):
        """A layer that keeps the shape (width,)."""
        kind = self.among(
            ["dense", "dropout", "prelu", "activation", "layer_normalization",
             "batch_normalization", "test_sine", "scale", "parametric_activation"]
        )  # fmt: skip
        self.used[kind] += 1
        if kind == "dense":
            return self.dense(width)
        return {
            "dropout": lambda: fnn.Dropout(0.3),
            "prelu": lambda: fnn.PReLU(NORMAL, shared=self.flag()),
            "activation": lambda: fnn.Activation(self.activation()),
            "layer_normalization": lambda: self.normalization(fnn.LayerNormalization),
            "batch_normalization": lambda: self.normalization(fnn.BatchNormalization),
            "test_sine": Sine,
            "scale": lambda: fnn.Scale(NEAR_ONE),
            "parametric_activation": self.parametric,
        }[kind]()

    def parametric(self):
        names = [one for one in fnn.activations.NAMES if one not in fnn.activations.OF_ROWS]
        name = self.among(names)
        self.used[name] += 1
        return fnn.ParametricActivation(name, NEAR_ONE, alpha_regularizer=self.penalty())

    def normalization(self, kind):
        return kind(
            epsilon=0.01, center=self.flag(), scale=self.flag(),
            beta_initializer=NORMAL, gamma_initializer=NEAR_ONE,
        )  # fmt: skip


def embed(c):
    columns = c.draw(st.integers(1, 3))
    categories = c.draw(st.integers(1, 4))
    x = c.input(columns, categories)
    if c.flag():
        layer = fnn.Embedding([categories] * columns, c.width(), embeddings_initializer=NORMAL)
    else:
        layer = fnn.Embedding(categories, c.width(), embeddings_initializer=NORMAL)
    return c.call(layer, x)


def reshape(c):
    tensor = c.one()
    width = int(np.prod(tensor.shape))
    first = c.among([size for size in range(1, width + 1) if width % size == 0])
    return c.call(fnn.Reshape((first, -1)), tensor)


def residual(c):
    x = c.flat()
    block = [c.unary(x.shape[0]) for _ in range(c.draw(st.integers(1, 3)))]
    if c.flag():
        block.append(block[0])  # a layer that is used twice
    return c.call(fnn.Residual(block), x)


def activate(c):
    return c.call(fnn.Activation(c.activation()), c.flat())


def binary(kind):
    def step(c):
        x = c.one()
        others = [c.like(x) for _ in range(c.draw(st.integers(1, 2)))]
        return c.call(kind(), x, *others)

    return step


def concatenate(c):
    return c.call(fnn.Concatenate(), *(c.flat() for _ in range(c.draw(st.integers(2, 3)))))


def normalize(c):
    x = c.one()
    invert, axis = c.flag(), c.among([-1, None])
    features = x.shape[-1] if axis else 1
    mean, variance = [0.5 - i for i in range(features)], [0.5 + i for i in range(features)]
    return c.call(fnn.Normalization(axis, mean=mean, variance=variance, invert=invert), x)


def rescale(c):
    return c.call(fnn.Rescaling(c.among([0.5, -2.0]), c.among([0.0, 0.3])), c.one())


def encode(kind):
    def step(c):
        columns, tokens = c.draw(st.integers(1, 3)), c.draw(st.integers(2, 4))
        x, mode = c.input(columns, tokens), c.among(["one_hot", "multi_hot", "count"])
        if kind == "category_encoding":
            return c.call(fnn.CategoryEncoding(tokens, mode), x)
        # The categories are the tokens, one of which is masked, and one not in the vocabulary.
        options = {"mask_token": c.among([None, 0]), "output_mode": c.among(["int", mode])}
        if kind == "integer_lookup":
            return c.call(fnn.IntegerLookup(vocabulary=[1], **options), x)
        c.categories[-1] = list("abcd"[:tokens])
        options["mask_token"] = "a" if options["mask_token"] == 0 else None
        return c.call(fnn.StringLookup(vocabulary=["b"], **options), x)

    return step


def columns(c):
    x = c.flat()
    start = c.draw(st.integers(0, x.shape[0] - 1))
    return c.call(fnn.Columns(start, c.draw(st.integers(start + 1, x.shape[0]))), x)


def periodic(c):
    layer = fnn.PeriodicEmbedding(c.width(), c.draw(st.integers(1, 6)), frequency_scale=0.3)
    return c.call(layer, c.flat())


def piecewise(c):
    x, bins = c.flat(), c.draw(st.integers(1, 5))
    layer = fnn.PiecewiseLinearEmbedding(c.width(), bins)
    # Odd fractions, so that no number that is computed falls onto an edge.
    rng = np.random.default_rng(bins)
    layer.adapt(rng.choice([-0.937, -0.312, 0.0713, 0.518, 1.277], (9, x.shape[0])))
    return c.call(layer, x)


def of_members(make):
    def step(c):
        members = c.draw(st.integers(1, 4))
        return c.call(make(c, members), c.flat(), c.input(1, members))

    return step


STEPS = {
    "dense": lambda c: c.call(c.dense(c.width()), c.flat()),
    "activation": activate,
    "dropout": lambda c: c.call(fnn.Dropout(c.among([0.2, 0.6])), c.one()),
    "flatten": lambda c: c.call(fnn.Flatten(), c.one()),
    "reshape": reshape,
    "prelu": lambda c: c.call(fnn.PReLU(NORMAL, shared=c.flag()), c.one()),
    "embedding": embed,
    "add": binary(fnn.Add),
    "multiply": binary(fnn.Multiply),
    "average": binary(fnn.Average),
    "member_scale": of_members(lambda c, members: fnn.MemberScale(members, NEAR_ONE)),
    "member_dense": of_members(
        lambda c, members: fnn.MemberDense(
            c.width(), members, use_bias=c.flag(), bias_initializer=NORMAL)
    ),
    "concatenate": concatenate,
    "layer_normalization": lambda c: c.call(c.normalization(fnn.LayerNormalization), c.flat()),
    "batch_normalization": lambda c: c.call(c.normalization(fnn.BatchNormalization), c.flat()),
    "normalization": normalize,
    "rescaling": rescale,
    **{kind: encode(kind) for kind in ("category_encoding", "string_lookup", "integer_lookup")},
    "residual": residual,
    "scale": lambda c: c.call(fnn.Scale(NEAR_ONE, scale_regularizer=c.penalty()), c.one()),
    "parametric_activation": lambda c: c.call(c.parametric(), c.one()),
    "columns": columns,
    "periodic_embedding": periodic,
    "piecewise_linear_embedding": piecewise,
    "test_sine": lambda c: c.call(Sine(), c.one()),
}  # fmt: skip


def heads(c):
    """The outputs: the first combines all unread tensors, the others read a tensor of their own."""
    read = {id(source) for tensor in c.tensors for source in tensor.inputs}
    leaves = [tensor for tensor in c.tensors if id(tensor) not in read]
    flat = [t if len(t.shape) == 1 else c.call(fnn.Flatten(), t) for t in leaves]
    end = flat[0] if len(flat) == 1 else c.call(fnn.Concatenate(), *flat)
    if end.shape == (1,) or c.flag():  # losses of distributions take two outputs or more
        end = c.call(c.dense(c.width(2)), end)
    others = [c.call(c.dense(c.width(2)), c.flat()) for _ in range(c.draw(st.integers(0, 2)))]
    return [end, *others]


def target(c, loss, rng, rows, units):
    if loss.takes_labels and c.flag():
        return rng.integers(0, units, rows)
    if loss.is_distribution:
        return rng.dirichlet(np.ones(units), rows)
    least, most = loss.target_range
    if (least, most) == (-1, 1):
        return rng.choice([-1.0, 1.0], (rows, units))
    if least == 0:
        return rng.uniform(0, min(most, 4), (rows, units))
    return rng.normal(size=(rows, units))


@st.composite
def compositions(draw):
    """A compiled model, the arguments of gradcheck, and a count of what is in it."""
    c = Composer(draw)
    for _ in range(draw(st.integers(1, 2))):
        # Gradients of all inputs contribute to those of a first layer with parameters.
        c.call(c.dense(c.width()), c.input(c.width()))
    for kind in draw(st.lists(st.sampled_from(list(STEPS)), min_size=1, max_size=8)):
        STEPS[kind](c)
    ends = heads(c)
    names = [c.among(fnn.losses.registry) for _ in ends]
    chosen = [LOSSES[n]() if n in LOSSES and c.flag() else fnn.losses.get(n) for n in names]
    weights = [c.among([1.0, 0.3, 2.5]) for _ in ends] if c.flag() else None
    seed = draw(st.integers(0, 2**20))
    model = fnn.Model(c.inputs, ends, dtype=c.among(["float64", "float32"]), seed=seed)
    model.compile("sgd", chosen, loss_weights=weights)
    frozen = c.among([None, None, *model.layers])
    if frozen is not None and frozen is not model.layers[0]:
        frozen.trainable = False
    c.used.update(names)
    rng, rows = np.random.default_rng(seed), draw(st.integers(2, 7))
    x = [
        rng.choice(np.asarray(categories, object), (rows, *tensor.shape))
        if isinstance(categories, list)
        else rng.integers(0, categories, (rows, *tensor.shape)) if categories
        else rng.normal(size=(rows, *tensor.shape))
        for tensor, categories in zip(c.inputs, c.categories, strict=True)
    ]  # fmt: skip
    y = [target(c, one, rng, rows, end.shape[0]) for one, end in zip(chosen, ends, strict=True)]
    sample_weight = rng.uniform(0, 2, rows) if c.flag() else None
    note(
        f"outputs of {[end.shape for end in ends]}, losses {chosen} with weights {weights}, "
        f"{rows} rows, sample_weight {sample_weight}, frozen {frozen}, seed {seed}"
    )
    data = tuple(arrays if len(arrays) > 1 else arrays[0] for arrays in (x, y))
    return model, data, {"sample_weight": sample_weight}, c.used


# Kinds of layers that read categories or text, with respect to which there is no gradient.
WITHOUT_GRADIENT = (
    "embedding", "category_encoding", "string_lookup", "integer_lookup",
    "member_scale", "member_dense",
)  # fmt: skip


def check(count, used=None, **options):
    """Run gradcheck on `count` compositions; what was in them is added to `used`."""

    @settings(
        max_examples=count, derandomize=True, database=None, deadline=None,
        suppress_health_check=list(HealthCheck), report_multiple_bugs=False, **options,
    )  # fmt: skip
    @given(compositions())
    def run(composition):
        model, data, weighting, parts = composition
        # A difference of losses of 1000 is accurate to 1e-7, and cannot resolve a gradient of 1e-6.
        clone = fnn.Model.of(model.network.clone("float64"))
        assume(clone.train_on_batch(*data, **weighting) < 100)
        fnn.gradcheck(model, *data, **weighting)
        if not any(parts[kind] for kind in WITHOUT_GRADIENT):
            fnn.gradcheck(model, *data, wrt="inputs", **weighting)
        if used is not None:
            used["compositions"] += 1
            used.update(parts)

    run()


def test_every_layer_has_a_step():
    kinds = fnn.layers.registry
    own = {kind for kind in kinds if kinds[kind].__module__.startswith("fastnn.")}
    assert own | {"test_sine"} == set(STEPS)


def test_gradients_of_compositions():
    check(20)


@pytest.mark.slow
def test_gradients_of_many_compositions():
    used: Counter = Counter()
    check(500, used)
    assert used["compositions"] >= 500
    parts = {
        *STEPS, *fnn.activations.NAMES, *fnn.losses.registry, *fnn.regularizers.registry, "custom"
    }  # fmt: skip
    assert not {part for part in parts if used[part] < 10}


@pytest.mark.parametrize("kind", ["affine", "activation"])
def test_a_wrong_derivative_is_noticed(kind, monkeypatch):
    gradient = ops.OPS[kind].gradient

    def wrong(op, grad, emit):
        double = emit("add", (grad, grad), (grad.shape,))
        return gradient(op, double, emit)

    monkeypatch.setitem(ops.OPS, kind, replace(ops.OPS[kind], gradient=wrong))
    with pytest.raises(fnn.GradientError):
        check(20, phases=[Phase.generate])
