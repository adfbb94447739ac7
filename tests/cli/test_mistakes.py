"""The command: a line for every mistake, which names it and the cure; nothing is written."""

import re
import shutil
import sys

import numpy as np
import pytest
from command_helpers import QUICK, houses

import fastnn as fnn

MISTAKES = {
    "no command": ("trian", "invalid choice: 'trian'.*; did you mean 'train'?"),
    "no file": ("train no.csv --target y", "no.csv: does not exist"),
    "no target": ("train houses.csv", "--target is missing.*'size', 'garden', 'town', 'price'"),
    "other target": ("train houses.csv --target prise",
                     r"there is no 'prise'; did you mean 'price'\? --target must"),
    "repeated names": (
        "train twice.csv --target y", "twice.csv: columns 1 and 3 are both called 'y'",
    ),
    "cut": ("train cut.csv --target y", "cut.csv: line 3 has 1 cell.*the file was cut"),
    "infinite": ("train inf.csv --target y --held-out 0", "column 'a', row 2: is infinite"),
    "one class": ("train one.csv --target y", "target 'y' has only one class, 'u'"),
    "all missing": ("train gaps.csv --target y", "target 'y': every row is missing"),
    "other separator": ("train houses.csv --target price --sep ;;", "sep must be one character"),
    "digits' target": ("train --target y", "the digits' target is 'digit'"),
    "all dropped": ("train many.csv --target y --drop a", "no column is left as input"),
    "target dropped": ("train houses.csv --target price --drop price", "which is the target"),
    "dropped what": ("train houses.csv --target price --drop twon",
                     "drop: 'twon' is not a column; did you mean 'town'"),
    "drop and data": ("train --target price --drop kind houses.csv",
                      "--drop houses.csv: DATA goes before the options"),
    "group": ("train houses.csv --target price --group twon", "no column 'twon'.*'town'"),
    "group is target": ("train houses.csv --target price --group price", "which is the target"),
    "kind": ("train houses.csv --target price --kind town=categry",
             "expected NAME=KIND.*did you mean 'category'"),
    "kind of what": ("train houses.csv --target price --kind twon=category", "did you mean 'town'"),
    "class weight": ("train houses.csv --target kind --class-weight flat",
                     "expected `balanced` or CLASS=WEIGHT, got 'flat'"),
    "weight of no class": ("train houses.csv --target kind --class-weight castle=2", "'castle'"),
    "weights of numbers": ("train houses.csv --target price --class-weight balanced",
                           "class_weight is for classes"),
    "quantiles of classes": ("train houses.csv --target kind --quantiles 0.5",
                             "quantiles are of numbers"),
    "quantiles": ("train houses.csv --target price --quantiles 2",
                  "expected a number between 0 and 1, got '2'"),
    "metric": ("train houses.csv --target price --metric accuracy",
               "metric must be one of a regression"),
    "metric misspelt": ("train houses.csv --target price --metric acuracy",
                        "--metric: invalid choice: 'acuracy'.*; did you mean 'accuracy'?"),
    "two targets": ("train houses.csv --target kind --target price",
                    "--target: given twice, as 'kind' and 'price'"),
    "two groups": ("compare houses.csv --target kind --group town --group size",
                   "--group: given twice, as 'town' and 'size'"),
    "two weights": ("train houses.csv --target kind --class-weight flat=1 flat=2",
                    "--class-weight: 'flat' is given twice"),
    "weights apart": ("train houses.csv --target kind --class-weight flat=1 --class-weight flat=2",
                      "--class-weight: 'flat' is given twice"),
    "two kinds": ("train houses.csv --target price --kind size=number size=category",
                  "--kind: 'size' is given twice"),
    "negative weight": ("train houses.csv --target kind --class-weight flat=-1",
                        "got 'flat=-1'; a weight is at least 0"),
    "encoding of no file": ("train houses.csv --target price --encoding idna",
                            "encoding 'idna' is not of files; try"),
    "undefined encoding": ("train houses.csv --target price --encoding undefined",
                           "encoding 'undefined' is not of files; try"),
    "option": (
        "train houses.csv --target price --hiden 64",
        "fastnn train: error: unrecognized arguments: --hiden 64; did you mean '--hidden'?",
    ),
    "option with value": (
        "train --learing-rate=0.1",
        "unrecognized arguments: --learing-rate=0.1; did you mean '--learning-rate'?",
    ),
    "option of predict": (
        "predict m.safetensors houses.csv --probabilites",
        "fastnn predict: error: .*; did you mean '--probabilities'?",
    ),
    "option of none": ("--verison", "fastnn: error: .*; did you mean '--version'?"),
    "no option": ("train --zzz", r"unrecognized arguments: --zzz \(see"),
    "file too many": ("info a.x b.x", r"unrecognized arguments: b.x \(see"),
    "few rows": ("train few.csv --target y", "leaves 2 to train on and 0 to test with"),
    "too few rows": ("train some.csv --target y", "7 rows are left to train on, at least 10"),
    "data last": ("train --hidden 8 houses.csv", "'houses.csv'; DATA goes before the options"),
    "epochs": ("train --epochs 0", "--epochs: expected a whole number of at least 1, got '0'"),
    "rate": ("train --learning-rate nan", "--learning-rate: expected a number above 0"),
    "share": ("train --held-out 1", "--held-out.*up to, not including, 1, got '1'"),
    "recipe": ("train --recipe real", "invalid choice: 'real'"),
    "members": ("train houses.csv --target price --members 100", "at least 200 rows, got 160"),
    "output": ("train --output houses.csv", "--output houses.csv: is a file"),
    "under a file": ("train --output houses.csv/a", "--output houses.csv/a: cannot write there"),
    "no model": ("predict no.safetensors houses.csv", "no model file 'no.safetensors'"),
    "not a model": ("predict houses.csv houses.csv", "'houses.csv' is not a safetensors file"),
    "no data": ("predict m.safetensors", "required: DATA"),
    "missing columns": ("predict m.safetensors few.csv", "few.csv: the model needs column 'size'"),
    "text for numbers": ("predict m.safetensors text.csv", "text.csv: column 'size', row 2.*'big'"),
    "digits": ("predict m.safetensors digits", "columns without names; the model takes 4"),
    "no classes": ("predict p.safetensors houses.csv --probabilities", "it has no classes"),
    "no interval": ("predict m.safetensors houses.csv --interval 0.9", "predicts classes"),
    "own data": ("predict m.safetensors houses.csv --output houses.csv", "would overwrite"),
    "target of arrays": (
        "train arrays.npz --target z",
        "there is no 'z'; --target must name the array to predict; there is 'x', 'y'",
    ),
    "not a file": ("predict m.safetensors houses.csv --output .", "--output .: is not a file"),
    "evaluate without target": ("evaluate m.safetensors bare.csv", "no column 'kind'"),
    "evaluate other classes": ("evaluate m.safetensors castle.csv",
                               "castle.csv: target 'kind', row 1: 'castle' is no class"),
    "evaluate group": ("evaluate m.safetensors houses.csv --group twon", "did you mean 'town'"),
    "evaluate infinite": ("evaluate p.safetensors infinite.csv",
                          "infinite.csv: target 'price', row 2: is infinite"),
    "explain infinite": ("explain p.safetensors infinite.csv",
                         "infinite.csv: target 'price', row 2: is infinite"),
    "evaluate huge": ("evaluate p.safetensors huge.csv",
                      r"huge.csv: target 'price', row 3: is too large \(1e\+300\)"),
    "explain huge": ("explain p.safetensors huge.csv",
                     r"huge.csv: target 'price', row 3: is too large \(1e\+300\)"),
    "explain what": ("explain houses.csv", "is not a safetensors file"),
    "folds": ("compare houses.csv --target price --folds 1", "at least 2, got '1'"),
    "many folds": ("compare few.csv --target y --folds 5", "rows are left to train on"),
    "no model here": ("info houses.csv", "is not a safetensors file"),
    "bench of what": ("bench", "required: --limits"),
    "no thread": ("bench --limits --threads 0", "expected a whole number of at least 1, got '0'"),
    "completion": ("--print-completion fish", "invalid choice: 'fish'"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(run, models, here, name):
    line, message = MISTAKES[name]
    (here / "few.csv").write_text("a,y\n1,1.5\n2,2.5\n")
    (here / "some.csv").write_text("a,y\n" + "".join(f"{i % 4},{i}.5\n" for i in range(9)))
    (here / "many.csv").write_text("a,y\n" + "".join(f"{i % 7},{i}.5\n" for i in range(60)))
    (here / "twice.csv").write_text("y,v,y\n1,2,3\n")
    (here / "cut.csv").write_text("a,y\n1,1.5\n2")
    (here / "inf.csv").write_text("a,y\n1,1.5\ninf,2.5\n" + "3,4.5\n4,3\n" * 9)
    (here / "one.csv").write_text("a,y\n1,u\n2,u\n")
    (here / "gaps.csv").write_text("a,y\n1,\n2,\n")
    houses(5).drop(columns="kind").to_csv("bare.csv", index=False)
    houses(5).assign(kind="castle").to_csv("castle.csv", index=False)
    houses(3).assign(size=["1", "big", "3"]).to_csv("text.csv", index=False)
    houses(3).assign(price=[1.0, np.inf, 2.0]).to_csv("infinite.csv", index=False)
    houses(3).assign(price=["", 1.0, 1e300]).to_csv("huge.csv", index=False)
    np.savez(here / "arrays.npz", x=np.ones((9, 2)), y=np.arange(9.0))
    for short, model in (("m", "kind"), ("p", "price")):
        shutil.copy(models / model / "model.safetensors", f"{short}.safetensors")
    before = {path: path.read_bytes() for path in here.iterdir()}
    status, out, err = run(*line.split())
    assert (status, out, err.count("\n")) == (2, "", 1), out + err
    assert err.startswith(("fastnn " + line.split()[0] + ": error: ", "fastnn: error: "))
    assert re.search(message, err), err
    assert {path: path.read_bytes() for path in here.iterdir() if path.is_file()} == before


EMPTY = {
    "train DATA": ["train", ""],
    "train --output": ["train", "houses.csv", "--target", "price", "--output", ""],
    "compare DATA": ["compare", "", "--target", "price"],
    "predict MODEL": ["predict", "", "houses.csv"],
    "predict DATA": ["predict", "m.safetensors", ""],
    "predict --output": ["predict", "m.safetensors", "houses.csv", "--output", ""],
    "evaluate DATA": ["evaluate", "m.safetensors", ""],
    "explain MODEL": ["explain", ""],
    "info MODEL": ["info", ""],
}


@pytest.mark.parametrize("what", EMPTY)
def test_an_empty_name_is_no_file(run, here, what):
    before = set(here.iterdir())
    status, out, err = run(*EMPTY[what])
    assert (status, out, err.count("\n")) == (2, "", 1)
    name = what.split()[1]
    assert f"argument {name}: expected the name of a file or folder, got ''" in err
    assert set(here.iterdir()) == before


def test_a_model_that_may_not_be_read(run, models, monkeypatch):
    def refused(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    shutil.copy(models / "kind" / "model.safetensors", "m.safetensors")
    monkeypatch.setattr("fastnn.core.files.open", refused, raising=False)
    status, out, err = run("predict", "m.safetensors", "houses.csv")
    assert (status, out) == (2, "")
    assert err == "fastnn predict: error: m.safetensors: Permission denied\n"


NAUGHTY = "a\x1b]0;title\x07\x9b31m\u202eb"


@pytest.mark.parametrize(
    "line",
    [
        ["train", NAUGHTY],
        ["train", f"{NAUGHTY}.csv", "--target", "y"],
        ["train", "houses.csv", "--target", NAUGHTY],
        ["train", "houses.csv", f"--{NAUGHTY}"],
        ["train", "naughty.csv", "--target", "y"],
        ["train", "naughty.csv", "--target", f"{NAUGHTY}p", *QUICK],
        ["info", NAUGHTY],
    ],
    ids=range(7),
)
def test_no_name_speaks_to_the_terminal(run, line):
    frame = houses(60).rename(columns={"size": NAUGHTY, "price": f"{NAUGHTY}p"})
    frame.to_csv("naughty.csv", index=False)
    status, out, err = run(*line)
    assert r"a\x1b]0;title\x07\x9b31m\u202eb" in out + err
    if status == 0:
        model = "fastnn-output/model.safetensors"
        for more in (["info", model], ["explain", model, "naughty.csv"]):
            _, shown, complaint = run(*more)
            out += shown + complaint
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(out + err)


def test_the_same_twice_is_no_mistake(run):
    line = ["train", "houses.csv", "--target", "kind", "--target", "kind", "--drop", "price", "-q"]
    weights = ["--class-weight", "flat=0", "--class-weight", "flat=0"]
    assert run(*line, *QUICK, *weights)[0] == 0


def test_no_command(run):
    status, out, err = run()
    assert (status, out) == (2, "")
    assert "COMMAND" in err


COMMANDS = ["train", "evaluate", "predict", "explain", "compare", "info", "bench"]


@pytest.mark.parametrize("command", [[], *([one] for one in COMMANDS)])
def test_help(run, command):
    status, out, _ = run(*command, "--help")
    assert status == 0
    assert out.startswith("usage: fastnn")
    assert "130" in out or command in (["info"], ["bench"])
    if not command:
        assert all(re.search(rf"^    {one} ", out, re.M) for one in COMMANDS)


def test_version(run):
    assert run("--version")[1] == f"fastnn {fnn.__version__}\n"


def test_missing_pandas(run, monkeypatch):
    houses().to_parquet("houses.parquet")
    for name in ("pandas", "pyarrow"):
        monkeypatch.setitem(sys.modules, name, None)
    assert run("train", "houses.csv", "--target", "price", "-q", *QUICK)[0] == 0
    status, _, err = run("train", "houses.parquet", "--target", "price")
    assert (status, err.count("\n")) == (2, 1)
    assert "pip install 'fastnn-cpu[table]'" in err
