"""Programs as lowered, and after fusion: the same numbers, natively and by the reference."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_close, run_native
from program_cases import random_model

import fastnn as fnn
from fastnn.data import Source
from fastnn.program import reference
from fastnn.program.fuse import fuse
from fastnn.program.lower import Program
from fastnn.program.purpose import Purpose

SEEDS = range(12)


class Case:
    """A random model's program for one purpose, with a batch and arenas of its own."""

    def __init__(self, seed: int, purpose: Purpose) -> None:
        model, x, y = random_model(seed)
        samples = model.network.checked_samples(x, y)
        sources, kind = samples.sources, samples.target_types
        self.runtime = model.network.runtime
        self.unfused = self.runtime.program(purpose, kind)
        self.fused = fuse(self.unfused)
        rng = np.random.default_rng(seed)
        given = [source.array for source in sources if isinstance(source, Source)]
        rows, own = len(y), len(self.runtime.graph.inputs)
        behind = self.unfused.inputs[own:]
        if not purpose.has_targets:
            given[own:] = [rng.standard_normal((rows, *value.shape)) for value in behind]
        self.batch = given[: len(self.unfused.inputs)]
        self.rows = rows
        self.gradients = rng.standard_normal(self.runtime.count)
        self.state = rng.uniform(0.3, 0.4, self.runtime.arenas["state"].shape)

    def by_reference(self, program: Program) -> dict[str, np.ndarray]:
        """Outputs and results, gradients, new parameters and state."""
        runtime = self.runtime
        arena = runtime.arenas["parameters"].copy()
        gradients = self.gradients.copy()
        gradient_views = runtime.views_of(gradients)
        values = {**runtime.views_of(arena), "parameters": arena}
        context = reference.Context(
            runtime.dtype, runtime.key, 3, 0.05, self.rows, self.state.copy(),
            runtime.offsets,
        )  # fmt: skip

        def watch(op, value, result):
            if value.storage == "gradient":
                gradient_views[value.name][...] = result

        known = {**gradient_views, "gradients": gradients}
        made = reference.run(program, self.batch, values, context, watch, known)
        for value, array in made.items():
            if value.storage == "parameter" and value.name == "parameters":
                arena[...] = array
        found = {value.name: array for value, array in made.items() if value.storage == "result"}
        outputs = {f"output {i}": made[value] for i, value in enumerate(program.outputs)}
        return {**found, **outputs, "parameters": arena, "gradients": gradients,
                "state": context.state}  # fmt: skip

    def natively(self, program: Program) -> dict[str, np.ndarray]:
        """The same by the kernels; without outputs that are arrays of all rows."""
        runtime = self.runtime
        arenas = {
            "parameters": runtime.arenas["parameters"].copy(),
            "gradients": self.gradients.copy(),
            "state": self.state.copy(),
        }
        offsets = {**runtime.offsets, "average": max(len(runtime.slots) - 1, 0) * runtime.count}
        made = run_native(
            program, self.batch, arenas, offsets, dtype=runtime.dtype, learning_rate=0.05, step=3,
            key=runtime.key,
        )  # fmt: skip
        kept = len(made) - len(program.results)
        outputs = {f"output {i}": array for i, array in enumerate(made[:kept])}
        return {**outputs, **dict(zip(program.results, made[kept:], strict=True)), **arenas}


def assert_agree(got, want, tolerance):
    """Fail unless everything that both contain agrees, and neither is empty."""
    names = got.keys() & want.keys()
    assert names
    for name in names:
        assert_close(got[name], want[name], tolerance, name)


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("seed", SEEDS)
def test_unfused_and_fused_programs_agree(seed, purpose):
    case = Case(seed, purpose)
    assert not case.unfused.merges
    unfused = case.by_reference(case.unfused)
    assert_agree(case.by_reference(case.fused), unfused, 1e-10)
    assert_agree(case.natively(case.unfused), unfused, 1e-10)
    assert_agree(case.natively(case.fused), unfused, 1e-10)


def test_the_comparison_can_fail(monkeypatch):
    case = Case(0, Purpose.TRAIN)
    unfused = case.by_reference(case.unfused)
    right = reference.FORMULAS["bias_gradient"]
    monkeypatch.setitem(
        reference.FORMULAS, "bias_gradient", lambda *arguments: right(*arguments) + 1e-6
    )
    with pytest.raises(AssertionError):
        assert_agree(case.by_reference(case.unfused), unfused, 1e-10)


def test_something_is_fused_and_the_program_given_stays_as_it_was():
    case = Case(0, Purpose.TRAIN)
    ops = list(case.unfused.ops)
    assert fuse(case.unfused).merges
    assert case.unfused.ops == ops
    assert len(case.fused.ops) < len(ops)


def test_a_section_of_a_fused_program_begins_with_the_op_that_it_began_with():
    for seed in SEEDS:
        case = Case(seed, Purpose.MANUAL)
        for name, (first, end) in case.unfused.sections.items():
            begin, fused_end = case.fused.sections[name]
            assert case.fused.ops[begin] is case.unfused.ops[first]
            assert (end == len(case.unfused.ops)) == (fused_end == len(case.fused.ops))


def test_outputs_are_copied_where_nothing_is_fused():
    model = fnn.Sequential([fnn.Dense(3), fnn.Dense(2, "relu")], input_shape=(4,), seed=0)
    unfused = model.network.runtime.program(Purpose.PREDICT)
    names = [op.name for op in unfused.ops]
    assert names == ["gather", "affine", "affine", "activation", "activation"]
    assert [op.name for op in fuse(unfused).ops] == ["gather", "affine", "affine"]
