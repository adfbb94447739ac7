"""Tables: how they are read and encoded, and that errors name what is wrong with a file."""

import io
import json
import zipfile

import numpy as np
import pytest

import fastnn as fnn
from fastnn.exchange import model_file
from fastnn.tabular import files, table
from fastnn.tabular.encoding import Encoding
from fastnn.tabular.table import Table

pandas = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")

TOWNS = ["Köln", "Nara", "Oslo"]


def frame(rows=60):
    g = np.random.default_rng(0)
    return pandas.DataFrame(
        {
            "size": g.normal(50, 10, rows),
            "rooms": g.integers(1, 6, rows),
            "garden": g.random(rows) > 0.5,
            "town": [TOWNS[i % 3] for i in range(rows)],
            "price": g.normal(1e6, 1e5, rows),
        }
    )


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    return path


def savez(path, **arrays):
    np.savez(path, **arrays)
    return path


def planned(cells, target, rows=None, **options):
    made = Encoding.plan(cells, target, **options)
    made.fit(cells, np.arange(cells.rows) if rows is None else rows)
    return made


@pytest.fixture
def csv(tmp_path):
    frame().to_csv(tmp_path / "houses.csv", index=False)
    return tmp_path / "houses.csv"


# --- reading ----------------------------------------------------------------------------------


def test_csv_and_parquet_are_the_same(tmp_path, csv):
    original = frame()
    original.to_parquet(tmp_path / "plain.parquet")
    original.astype({"town": "category", "rooms": "Int64", "garden": "boolean"}).to_parquet(
        tmp_path / "nullable.parquet"
    )
    want = planned(table.read(csv), "price").encode(table.read(csv))
    for name in ("plain.parquet", "nullable.parquet"):
        cells = table.read(tmp_path / name)
        np.testing.assert_array_equal(planned(cells, "price").encode(cells), want)


def test_npz(tmp_path):
    x = np.arange(24.0).reshape(4, 3, 2)
    cells = table.read(savez(tmp_path / "a.npz", images=x, label=np.arange(4)), "label")
    assert list(cells.columns) == [f"images[{i}]" for i in range(6)] + ["label"]
    np.testing.assert_array_equal(cells.values("images[5]"), x[:, 2, 1])
    assert not cells.has_names


def test_nameless_columns_are_left_out(tmp_path):
    frame(5).to_csv(tmp_path / "with_index.csv")
    cells = table.read(tmp_path / "with_index.csv")
    assert list(cells.columns) == list(frame(5).columns)
    assert len(cells.left_out) == 1


def test_byte_order_mark(tmp_path):
    cells = table.read(write(tmp_path / "a.csv", "a,b\n1,2\n", "utf-8-sig"))
    assert list(cells.columns) == ["a", "b"]


WRONG_FILES = {
    "empty.csv": ("", "is empty"),
    "header.csv": ("a,b\n", "no rows"),
    "long.csv": ("a,b\n1,2\n1,2,3\n", "Expected 2 fields in line 3, saw 3"),
    "all_long.csv": ("a,b\n1,2,3\n1,2,3\n", "more cells than there are column names"),
    "latin.csv": ("ort\nKöln\n".encode("latin-1"), "not UTF-8.*0xf6.*iconv"),
    "semicolon.csv": ("a;b\n1;2\n", "separated by ';'"),
    "binary.csv": (bytes(range(256)) * 9, "not a CSV table|not UTF-8"),
    "quote.csv": ('a,b\n"1,2\n', "EOF inside string"),
    "no.parquet": ("hello", "not a Parquet table"),
    "no.npz": ("hello", "not a .npz file"),
    "empty.npz": ("", "not a .npz file"),
    "other.xlsx": ("", "unknown kind of file '.xlsx'"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_wrong_file(tmp_path, name):
    content, message = WRONG_FILES[name]
    with pytest.raises(ValueError, match=message) as caught:
        table.read(write(tmp_path / name, content))
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


WRONG_ARRAYS = {
    "objects": ({"x": np.array([[{}]], object)}, "Python objects"),
    "no_x": ({"a": np.ones((2, 2)), "b": np.ones((2, 2))}, "expected the inputs as array 'x'"),
    "text": ({"x": np.array([["a"]])}, "must hold numbers"),
    "flat": ({"x": np.ones(3)}, r"shape \(rows, columns\)"),
    "short": ({"x": np.ones((3, 2)), "y": np.ones(2)}, r"'y' must have shape \(3,\), got \(2,\)"),
}


@pytest.mark.parametrize("name", WRONG_ARRAYS)
def test_wrong_arrays(tmp_path, name):
    arrays, message = WRONG_ARRAYS[name]
    with pytest.raises(ValueError, match=message):
        table.read(savez(tmp_path / "a.npz", **arrays), "y")


def test_damaged_npz(tmp_path):
    content = io.BytesIO()
    np.savez_compressed(content, x=np.arange(4000.0).reshape(-1, 2))
    data = bytearray(content.getvalue())
    data[200:260] = bytes(60)
    with pytest.raises(ValueError, match="cannot be read"):
        table.read(write(tmp_path / "a.npz", bytes(data)))


def test_npz_runs_nothing(tmp_path):
    ran = tmp_path / "ran"
    evil = f"cposix\nsystem\n(S'touch {ran}'\ntR.".encode()
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("x.npy", evil)
    with pytest.raises(ValueError, match="expected the inputs"):
        table.read(tmp_path / "a.npz")
    assert not ran.exists()


def test_folder_and_missing_file(tmp_path):
    (tmp_path / "a.csv").mkdir()
    for name, what in (("a.csv", "is a folder"), ("b.csv", "does not exist")):
        with pytest.raises(FileNotFoundError, match=what):
            table.read(tmp_path / name)


def test_repeated_names(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(
        pa.Table.from_arrays([pa.array([1])] * 2, names=["a", "a"]), tmp_path / "a.parquet"
    )
    with pytest.raises(ValueError, match=r"unique|Multiple matches"):
        table.read(tmp_path / "a.parquet")


# --- columns ----------------------------------------------------------------------------------

WRONG_COLUMNS = {
    "nan": ([1.0, np.nan, 3.0, np.nan], "row 2 and 1 more of 4 is empty"),
    "none": (["a", None, "b", "c"], "row 2 is empty"),
    "inf": ([1.0, np.inf, 3.0, 4.0], "row 2 is infinite"),
    "date": (pandas.to_datetime(["2020-01-01"] * 4), "holds datetime64"),
    "list": ([[1], [2], [3], [4]], "holds list"),
    "complex": ([1j, 2j, 3j, 4j], "holds complex128"),
}


@pytest.mark.parametrize("name", WRONG_COLUMNS)
def test_wrong_column(name):
    cells, message = WRONG_COLUMNS[name]
    read = Table("file", {"a": pandas.Series(cells)}, 4)
    with pytest.raises(ValueError, match=f"file: column 'a'.*{message}"):
        read.values("a")


def test_too_many_categories():
    names = [f"n{i}" for i in range(10_000)]
    read = Table("file", {"name": np.array(names), "y": np.arange(10_000) % 2}, 10_000)
    with pytest.raises(ValueError, match=r"column 'name' holds 10,000 different texts.*--drop"):
        Encoding.plan(read, "y")
    with pytest.raises(ValueError, match="no column is left"):
        Encoding.plan(read, "y", drop=["name"])


def test_one_question_mark_among_numbers():
    ages = [str(i) for i in range(60)]
    ages[15] = "?"
    read = Table("file", {"age": np.array(ages), "y": np.arange(60) % 2}, 60)
    with pytest.raises(ValueError, match=r"column 'age' holds numbers, but also '\?' \(row 16\)"):
        Encoding.plan(read, "y")


# --- task and target --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "has_names", "task", "classes"),
    [
        (np.array(["b", "a", "b"]), True, "classification", ["a", "b"]),
        (np.array([True, False, True]), True, "classification", ["False", "True"]),
        (np.array([10, 9, 10]), True, "classification", ["9", "10"]),
        (np.array([1.0, 2.0, 1.0]), True, "regression", []),
        (np.arange(30), True, "regression", []),
        (np.arange(30), False, "classification", [str(i) for i in range(30)]),
    ],
)
def test_task(target, has_names, task, classes):
    read = Table("file", {"a": np.zeros(len(target)), "y": target}, len(target), has_names)
    made = Encoding.plan(read, "y")
    assert (made.task, made.classes) == (task, classes)


def test_task_can_be_said():
    read = Table("file", {"a": np.zeros(3), "y": np.array([1.0, 2.5, 1.0])}, 3)
    made = Encoding.plan(read, "y", task="classification")
    assert made.classes == ["1", "2.5"]
    assert made.encode_target(read).tolist() == [0, 1, 0]


WRONG_TARGETS = {
    "one": (np.array(["a", "a"]), "auto", "'y' is 'a' in every row"),
    "constant": (np.array([2.5, 2.5]), "auto", "'y' is '2.5' in every row"),
    "text": (np.array(["a", "b"]), "regression", "holds text such as 'a'"),
    "many": (np.arange(2000), "classification", "2,000 classes.*--task regression"),
    "nan": (np.array([1.0, np.nan]), "auto", "'y' in row 2 is NaN"),
}


@pytest.mark.parametrize("name", WRONG_TARGETS)
def test_wrong_target(name):
    target, task, message = WRONG_TARGETS[name]
    read = Table("file", {"a": np.zeros(len(target)), "y": target}, len(target))
    with pytest.raises(ValueError, match=message):
        Encoding.plan(read, "y", task=task)


def test_wrong_drop(csv):
    for name, message in (("price", "the target"), ("no", "not a column")):
        with pytest.raises(ValueError, match=message):
            Encoding.plan(table.read(csv), "price", drop=[name])


# --- encoding ---------------------------------------------------------------------------------


def test_encode_against_plain_formula(csv):
    cells, train = table.read(csv), np.arange(0, 60, 2)
    x = planned(cells, "price", train).encode(cells)
    original = frame()
    numbers = original[["size", "rooms", "garden"]].to_numpy(float)
    want = (numbers - numbers[train].mean(axis=0)) / numbers[train].std(axis=0)
    np.testing.assert_allclose(x[:, :3], want, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(x[:, 3:], np.eye(3)[np.arange(60) % 3])
    assert x.dtype == np.float32


@pytest.mark.parametrize("value", [0.1, 0, 1e-300, -7e12])
def test_constant_column(value):
    read = Table("file", {"a": np.full(7, value), "y": np.arange(7.0)}, 7)
    made = planned(read, "y")
    assert made.scale[0] == 1
    assert np.abs(made.encode(read)).max() < 1e-2


def test_large_offset_keeps_its_digits():
    seconds = 1.7e9 + np.arange(50.0)  # in float32 alone these would be equal
    read = Table("file", {"a": seconds, "y": np.arange(50.0)}, 50)
    assert len(np.unique(planned(read, "y").encode(read))) == 50


def test_regression_target_round_trip(csv):
    cells = table.read(csv)
    made = planned(cells, "price")
    y = made.encode_target(cells)
    assert abs(y.mean()) < 1e-5
    assert abs(y.std() - 1) < 1e-5
    np.testing.assert_allclose(made.decode(y[:, None]), frame()["price"], rtol=1e-6)


def test_class_names_round_trip(csv):
    cells = table.read(csv)
    made = planned(cells, "town")
    outputs = np.eye(3)[made.encode_target(cells)]
    assert made.decode(outputs).tolist() == frame()["town"].tolist()


def test_order_and_number_of_columns_do_not_matter(csv):
    cells = table.read(csv)
    made = planned(cells, "price")
    names = list(reversed(cells.columns))
    other = {name: cells.columns[name] for name in names if name != "price"} | {"new": None}
    np.testing.assert_array_equal(
        made.encode(Table("other", other, cells.rows)), made.encode(cells)
    )


def test_text_stays_text(tmp_path):
    cells = table.read(write(tmp_path / "a.csv", "code,y\n01,1.5\nx,2.5\n02,3.5\n"))
    made = planned(cells, "y")
    other = table.read(write(tmp_path / "b.csv", "code\n01\n02\n"), text=made.categories)
    assert made.encode(other).tolist() == [[1, 0, 0], [0, 1, 0]]


WRONG_AFTER_TRAINING = {
    "missing": (lambda f: f.drop(columns=["rooms", "town"]), "needs column 'rooms', 'town'"),
    "unknown": (lambda f: f.assign(town=["Rome"] * 60), "'Rome' in row 1; the model knows only"),
    "text": (lambda f: f.assign(rooms=["many"] * 60), "'rooms' must hold numbers.*'many' in row 1"),
    "nan": (lambda f: f.assign(rooms=[1.0, np.nan] * 30), "'rooms' in row 2 and 29 more"),
    "far": (lambda f: f.assign(rooms=[1e300] * 60), "too large"),
}


def test_numbers_that_cannot_be_standardised(tmp_path):
    cells = table.read(write(tmp_path / "a.csv", "a,y\n1e308,1.5\n-1e308,2.5\n1e308,3.5\n"))
    with pytest.raises(ValueError, match=r"a\.csv: column 'a' holds too large numbers"):
        planned(cells, "y")


def test_column_that_is_not_there(csv):
    with pytest.raises(ValueError, match=r"there is no column 'prize', only 'size', 'rooms'"):
        table.read(csv).values("prize")


def test_columns_of_one_name(tmp_path):
    from fastnn.tabular.table import _from_frame

    twice = pandas.DataFrame([[1, 2, 3]], columns=["a", "b", "a"])
    with pytest.raises(ValueError, match=r"column names must be unique, repeated: 'a'$"):
        _from_frame(tmp_path / "a.parquet", twice)


@pytest.mark.parametrize("name", WRONG_AFTER_TRAINING)
def test_wrong_after_training(csv, tmp_path, name):
    change, message = WRONG_AFTER_TRAINING[name]
    made = planned(table.read(csv), "price")
    change(frame()).to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(ValueError, match=f"new.csv: .*{message}"):
        made.encode(table.read(tmp_path / "new.csv", text=made.categories))


def test_arrays_go_by_position(tmp_path):
    cells = Table("file", {"a": np.arange(4.0), "b": np.ones(4), "y": np.arange(4.0)}, 4)
    made = planned(cells, "y")
    x = np.stack([np.arange(4.0), np.ones(4)], axis=1)
    arrays = table.read(savez(tmp_path / "a.npz", data=x), "y")
    np.testing.assert_array_equal(made.encode(arrays), made.encode(cells))
    with pytest.raises(ValueError, match="3 columns without names; the model takes 2"):
        made.encode(table.read(savez(tmp_path / "b.npz", x=np.ones((4, 3)))))


def test_reprs_say_what_they_hold_and_no_cells():
    cells = Table(
        "f.csv", {"a": np.arange(4.0), "town": np.array(list("xyxy")), "y": np.ones(4)}, 4
    )
    assert repr(cells) == "<Table 'f.csv': 4 rows of 'a', 'town', 'y'>"
    assert repr(planned(cells, "a")) == ("<Encoding for regression of 'a': 2 columns, 3 inputs>")
    assert repr(Encoding.plan(cells, "town")) == (
        "<Encoding for classification of 'town': 2 columns, 2 inputs, 2 classes>"
    )


# --- in a model file --------------------------------------------------------------------------


@pytest.fixture
def saved(csv, tmp_path):
    made = planned(table.read(csv), "price")
    model = fnn.Sequential([fnn.Dense(1)], input_shape=(made.inputs,), seed=0)
    path = tmp_path / "m.safetensors"
    entries, tensors = made.to_file()
    model_file.save(model.network, path, attachments={"table": entries}, tensors=tensors)
    return path, made


def test_file_round_trip(saved, csv):
    path, made = saved
    _, loaded, _ = files.load(path)
    cells = table.read(csv)
    np.testing.assert_array_equal(loaded.encode(cells), made.encode(cells))
    assert loaded.to_file()[0] == made.to_file()[0]
    json.dumps(loaded.to_file()[0])


@pytest.mark.parametrize(
    "change",
    [{"columns": []}, {"columns": None}, {"task": "x"}, {"classes": [1]}, {"more": 1},
     {"categories": {"no": ["a"]}}, {"target_mean": "x"}],
    ids=str,
)  # fmt: skip
def test_damaged_description(saved, tmp_path, change):
    path, _ = saved
    model, made, _ = files.load(path)
    entries, tensors = made.to_file()
    broken = tmp_path / "broken.safetensors"
    model_file.save(model.network, broken, attachments={"table": entries | change}, tensors=tensors)
    with pytest.raises(ValueError, match=r"broken.safetensors.*(damaged|do not fit)"):
        files.load(broken)


def test_columns_of_another_network(saved, tmp_path):
    _, made = saved
    model = fnn.Sequential([fnn.Dense(1)], input_shape=(made.inputs + 1,), seed=0)
    files.save(model, made, tmp_path / "other", attachments={})
    with pytest.raises(ValueError, match="columns and network do not fit each other"):
        files.load(tmp_path / "other")


def test_model_without_table(tmp_path):
    fnn.Sequential([fnn.Dense(1)], input_shape=(3,)).save(tmp_path / "m.safetensors")
    assert files.load(tmp_path / "m.safetensors")[1] is None


def test_without_pandas(csv, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ImportError, match=r"fastnn-cpu\[table\]"):
        table.read(csv)
