"""Which products of a program round their operands to bfloat16."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fastnn.native import engine
from fastnn.program.ops import Op

# Products of bfloat16 numbers are summed in float32, and all else is float32: the parameters, what
# layers hand on, gradients and the optimizer's state.
MIXED = "mixed_bfloat16"

# A smaller kernel stays in float32: rounding its operands takes as long as it saves. The rule goes
# by the layer alone, so that a row has the same bits in a batch of any size, on any machine.
FROM_INPUTS = FROM_UNITS = 64
FROM_ELEMENTS = 16_384

PRODUCTS = ("affine", "input_gradient", "kernel_gradient")


def in_bfloat16(ops: Sequence[Op]) -> list[Op]:
    """Return the unfused ops, with the attribute "precision" for those products that round.

    A sparse input's products are left as they are.
    """
    sparse = {op.output for op in ops if op.name == "csr_gather"}
    return [
        replace(op, attributes={**op.attributes, "precision": "bfloat16"})
        if op.name in PRODUCTS and op.input(0) not in sparse and _is_large(op)
        else op
        for op in ops
    ]


def _is_large(op: Op) -> bool:
    kernel = op.output if op.name == "kernel_gradient" else op.input(1)
    inputs, units = kernel.shape
    return inputs >= FROM_INPUTS and units >= FROM_UNITS and kernel.width >= FROM_ELEMENTS


def rounds(op: Op, rows: int) -> bool:
    """Whether an op rounds its operands in a batch of so many rows."""
    is_gradient = "gradient" in op.name
    return "precision" in op.attributes and not (
        is_gradient and rows <= engine.GRADIENT_ROWS_AS_GIVEN
    )


def precision_of(op: Op) -> dict[str, str]:
    """Return the attribute of a product for the op that takes its place."""
    return {name: op.attributes[name] for name in ("precision",) if name in op.attributes}
