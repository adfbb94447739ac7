"""The plan: places, lifetimes and barriers; its check is given wrong plans."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import accesses, check_barriers
from program_cases import random_model

import fastnn as fnn
from fastnn.program.fuse import fuse
from fastnn.program.lower import Program
from fastnn.program.ops import Op, Value
from fastnn.program.plan import ALIGNMENT, check, describe, plan
from fastnn.program.purpose import Purpose

SEEDS = range(30)


def programs_of(seed):
    """All programs of a random model, with its parameters' offsets."""
    model, _, y = random_model(seed)
    runtime = model.network.runtime
    kind = ("label" if y.ndim == 1 else "real",)
    for purpose in Purpose:
        yield fuse(runtime.program(purpose, kind)), runtime.offsets


@pytest.fixture
def made():
    """The plan of a train program with every kind of conflict."""
    x = fnn.Input((6,))
    h = fnn.Dense(5, activation="gelu")(x)
    y = fnn.Dense(3)(fnn.Add()([h, fnn.Dense(5, activation="relu")(h)]))
    model = fnn.Model(x, y, seed=0)
    model.compile(fnn.Adam(global_clipnorm=1.0), "crossentropy", ["accuracy"])
    return model.network.runtime.bound(Purpose.TRAIN, 7, "label").plan


def op_of(made, kind):
    """Return the position and the op of the first op of a kind."""
    return next((i, op) for i, op in enumerate(made.program.ops) if op.name == kind)


# --- sound plans ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_plans_of_random_models_are_sound(seed):
    capacities = np.random.default_rng(seed).integers(1, 700, 2)
    for program, offsets in programs_of(seed):
        for dtype in ("float32", "float64"):
            for capacity in (1, *map(int, capacities)):
                made = plan(program, dtype, capacity, offsets)
                check(made)
                check_barriers(made)
                for value, (offset, size) in made.places.items():
                    assert offset % ALIGNMENT == 0
                    assert size == made.bytes_of(value)
                    assert offset + size <= made.workspace_bytes


def test_workspace_is_shared_by_lifetime():
    layers = [fnn.Dense(64, activation="relu") for _ in range(20)]
    model = fnn.Sequential(layers, input_shape=(64,), seed=0)
    made = model.network.runtime.bound(Purpose.PREDICT, 100).plan
    assert made.workspace_bytes <= 3 * 100 * 64 * 4


def test_reshape_takes_no_memory_and_no_call():
    model = fnn.Sequential([fnn.Flatten(), fnn.Dense(2)], input_shape=(3, 4), seed=0)
    model.compile("sgd", "mse")
    made = model.network.runtime.bound(Purpose.TRAIN, 5).plan
    _, reshape = op_of(made, "reshape")
    assert made.places[reshape.output] == made.places[reshape.input(0)]
    assert len(made.calls()) == sum(bool(op.row.kernel) for op in made.program.ops)


def test_a_workspace_beyond_the_address_space_is_refused():
    model = fnn.Sequential([fnn.Dense(2**20)], input_shape=(1,), seed=0)
    program = model.network.runtime.program(Purpose.PREDICT)
    h = Value("h", (2**40,))
    wide = Program(Purpose.PREDICT, [*program.ops, Op("add", (h, h), (Value("y", (2**40,)),))], [])
    with pytest.raises(MemoryError, match="rows needs"):
        plan(wide, "float32", 2**30, model.network.runtime.offsets)


def test_description_shows_every_op_and_its_barrier(made):
    lines = describe(made).splitlines()
    for i, op in enumerate(made.program.ops):
        line = next(line for line in lines if line.startswith(f"{i:3d} "))
        assert op.name in line
        assert ("|" in line.split(op.name)[0]) == made.barriers[i]


# --- wrong plans, which the check must reject -------------------------------------------------


def test_check_refuses_two_live_values_at_one_place(made):
    check(made)
    h = op_of(made, "affine")[1].output  # read by the second layer, the sum, and backward
    _, add = op_of(made, "add")
    made.places[add.input(1)] = made.places[h]
    with pytest.raises(AssertionError, match=r"before it is there|which it reads"):
        check(made)


def test_check_refuses_partial_overlap(made):
    _, loss = op_of(made, "softmax_crossentropy")
    first, size = made.places[loss.writes()[1]]
    made.places[loss.writes()[0]] = first + size - 4, made.bytes_of(loss.writes()[0])
    made.workspace_bytes += 4096
    with pytest.raises(AssertionError, match="two outputs of op"):
        check(made)


def test_check_refuses_a_read_before_the_write(made):
    position, _ = op_of(made, "add")
    ops = list(made.program.ops)
    ops.insert(1, ops.pop(position))
    made.program = replace(made.program, ops=ops)
    with pytest.raises(AssertionError, match="before it is there"):
        check(made)


def test_check_refuses_a_value_that_nobody_writes(made):
    assert made.program.ops[0].name == "gather"
    made.program = replace(made.program, ops=[*made.program.ops[1:]])
    with pytest.raises(AssertionError, match="before it is there"):
        check(made)


@pytest.mark.parametrize("kind", ["affine", "add", "softmax_crossentropy", "input_gradient"])
def test_check_refuses_an_op_that_writes_over_its_input(made, kind):
    _, op = op_of(made, kind)
    read = next(value for value in op.reads() if value.storage in ("work", "input"))
    made.places[op.output] = made.places[read][0], made.bytes_of(op.output)
    with pytest.raises(AssertionError, match="which it reads"):
        check(made)


def test_check_refuses_a_place_outside_the_workspace(made):
    _, op = op_of(made, "add")
    made.places[op.output] = made.workspace_bytes - 4, made.bytes_of(op.output)
    with pytest.raises(AssertionError, match="outside the workspace"):
        check(made)


def test_check_refuses_reshaped_memory_that_was_taken():
    """A value that is read through another shape stays alive under its root."""
    model = fnn.Sequential(
        [fnn.Activation("tanh"), fnn.Flatten(), fnn.Dense(12), fnn.Dense(2)],
        input_shape=(3, 4), seed=0,
    )  # fmt: skip
    model.compile("sgd", "mse")
    made = model.network.runtime.bound(Purpose.TRAIN, 5).plan
    check(made)
    _, tanh = op_of(made, "activation")
    _, dense = op_of(made, "affine")
    made.places[dense.output] = made.places[tanh.output]
    with pytest.raises(AssertionError):
        check(made)


def test_check_refuses_an_output_that_is_overwritten_before_the_run_ends():
    model = fnn.Sequential([fnn.Dense(4), fnn.Dense(4)], input_shape=(4,), seed=0)
    made = model.network.runtime.bound(Purpose.MANUAL, 5).plan
    check(made)
    output = made.program.outputs[0]
    _, gradient = op_of(made, "input_gradient")
    made.places[gradient.output] = made.places[output]
    with pytest.raises(AssertionError):
        check(made)


# --- barriers ---------------------------------------------------------------------------------


def test_every_barrier_is_needed_and_its_absence_is_noticed(made):
    check_barriers(made)
    for position, stands in enumerate(made.barriers):
        if stands:
            made.barriers[position] = False
            with pytest.raises(AssertionError, match="no barrier"):
                check_barriers(made)
            made.barriers[position] = True


def test_a_barrier_on_an_op_without_a_kernel_does_not_count():
    x, y, z = Value("x", (6,), storage="input"), Value("y", (2, 3)), Value("z", (2, 3))
    ops = [
        Op("gather", (), (x,)),
        Op("reshape", (x,), (y,)),
        Op("activation", (y,), (z,), {"activation": "relu"}),
    ]
    made = plan(Program(Purpose.PREDICT, ops, [x], [z]), "float32", 4, {})
    check_barriers(made)
    assert made.barriers == [True, False, True]
    made.barriers[:2] = [False, True]
    with pytest.raises(AssertionError, match=r"between op 0 \(gather\) and op 2 \(activation\)"):
        check_barriers(made)


def test_ops_without_a_conflict_run_without_a_barrier():
    model = fnn.Sequential([fnn.Dense(4), fnn.Dense(4)], input_shape=(4,), seed=0)
    model.compile("sgd", "mse")
    made = model.network.runtime.bound(Purpose.TRAIN, 5).plan
    kinds = [op.name for op in made.program.ops]
    position = kinds.index("input_gradient")
    assert kinds[position + 1] == "kernel_gradient"
    assert not made.barriers[position]


def test_update_conflicts_with_what_computes_the_gradients(made):
    position, update = op_of(made, "update")
    _, writes = accesses(made, update)
    spaces = {space for space, _, _ in writes}
    assert spaces == {"parameters", "state"}
    assert any(made.barriers[:position])


def test_each_section_ends_with_a_barrier():
    for seed in range(10):
        for program, offsets in programs_of(seed):
            made = plan(program, "float64", 3, offsets)
            calls = made.calls()
            for name in program.sections:
                _, end = made.parts(name)[-1]
                assert calls[end - 1].barrier, (seed, program.name, name)
