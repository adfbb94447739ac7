"""The stubs of the compiled modules match the modules."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from pathlib import Path

import pytest

from fastnn.native import engine, kernels

MODULES = {"engine": engine, "kernels": kernels}


def parsed(module):
    """The statements of a module's stub."""
    return ast.parse(Path(module.__file__).with_name(f"{name_of(module)}.pyi").read_text()).body


def name_of(module):
    return module.__name__.rsplit(".", 1)[-1]


def parameters_of_stub(function):
    """(name, whether it has a default, whether it is keyword-only) of each parameter."""
    given = function.args
    plain = [*given.posonlyargs, *given.args]
    without = len(plain) - len(given.defaults)
    found = [(arg.arg, i >= without, False) for i, arg in enumerate(plain)]
    return found + [
        (arg.arg, default is not None, True)
        for arg, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
    ]


def parameters_of(function):
    """The same for a compiled function."""
    return [
        (p.name, p.default is not p.empty, p.kind is p.KEYWORD_ONLY)
        for p in inspect.signature(function).parameters.values()
    ]


def wrong(module, body):
    """The differences between a stub and its module."""
    functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
    compiled = {
        name: value
        for name, value in vars(module).items()
        if type(value).__name__ == "cython_function_or_method"
        and value.__module__ == module.__name__ and not name.startswith("_")
    }  # fmt: skip
    found = [f"missing in the stub: {name}" for name in compiled.keys() - functions.keys()]
    found += [f"not in the module: {name}" for name in functions.keys() - compiled.keys()]
    for name in compiled.keys() & functions.keys():
        if parameters_of(compiled[name]) != parameters_of_stub(functions[name]):
            found.append(f"other parameters: {name}")
    for node in body:
        names = [node.name] if isinstance(node, ast.ClassDef) else []
        if isinstance(node, ast.AnnAssign):
            names = [node.target.id]
        found += [f"not in the module: {name}" for name in names if not hasattr(module, name)]
        if isinstance(node, ast.ClassDef) and hasattr(module, node.name):
            cls = getattr(module, node.name)
            members = [m.name for m in node.body if isinstance(m, ast.FunctionDef)]
            members += [m.target.id for m in node.body if isinstance(m, ast.AnnAssign)]
            found += [f"not in {node.name}: {name}" for name in members if not hasattr(cls, name)]
            public = {name for name in vars(cls) if not name.startswith("_")}
            found += [f"missing in {node.name}: {name}" for name in public - set(members)]
    return found


@pytest.mark.parametrize("name", MODULES)
def test_the_stub_says_what_the_module_has(name):
    assert not wrong(MODULES[name], parsed(MODULES[name]))


def test_the_comparison_can_fail():
    body = parsed(kernels)
    affine = next(node for node in body if getattr(node, "name", "") == "affine")
    affine.args.kwonlyargs[0].arg = "function"
    assert wrong(kernels, body) == ["other parameters: affine"]
    body.remove(affine)
    assert wrong(kernels, body) == ["missing in the stub: affine"]


def test_kernel_numbers_are_those_of_the_header():
    """The numbers generated from the header name every kernel, in the order of the table."""
    root = Path(__file__).parents[2]
    spec = importlib.util.spec_from_file_location("numbers", root / "tools" / "kernel_numbers.py")
    numbers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(numbers)
    header = (root / "src_c" / "fastnn.h").read_text()
    assert numbers.kernels(header) == engine.kernel_names()
    assert numbers.kernels(header.replace("X(add) ", "")) != engine.kernel_names()
    assert "FASTNN_KERNEL_affine_halves\n" in numbers.declarations(header)
    with pytest.raises(ValueError, match="has no FASTNN_KERNELS"):
        numbers.kernels("")
