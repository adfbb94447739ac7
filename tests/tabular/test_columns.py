"""What a column is taken for, and why; that it can be said otherwise."""

import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from fastnn.tabular import Encoding, Target, of
from fastnn.tabular.cells import number_as_text
from fastnn.tabular.texts import date_in, duration_in, number_in

G = np.random.default_rng(0)
N = 60
WORDS = ["red", "green", "blue"]


def cycle(cells, rows=N):
    return [cells[i % len(cells)] for i in range(rows)]


def column_of(cells, name="a", **options):
    """Return the fitted column; a second one keeps a table from having no inputs."""
    table = {"other": G.normal(size=len(cells)), name: cells}
    return Encoding.fit(table, **options).columns[name]


RECOGNISED = {
    "ints": (cycle([3, 5, 9, 11]), "number", "whole numbers"),
    "floats": (G.normal(size=N), "number", "numbers"),
    "bools": (cycle([True, False]), "boolean", "booleans"),
    "bools with gaps": (cycle([True, None, False]), "boolean", "booleans"),
    "bools as text": (cycle(["true", "False", "TRUE"]), "boolean", "true and false"),
    "numpy bools": (np.arange(N) % 2 == 0, "boolean", "booleans"),
    "words": (cycle(WORDS), "category", "text"),
    "NA as text": (cycle(["NA", "None", "null", "x"]), "category", "text"),
    "mixed": (cycle([1, "b", 2.5, True]), "category", "text"),
    "sizes": (cycle(["S", "M", "38", "40"]), "category", "text"),
    "postcodes": (cycle(["00501", "10115", "01099"]), "category", "digits that begin with 0"),
    "decimals": (cycle([Decimal("1.5"), Decimal(2), None]), "number", "numbers"),
    "fractions": (cycle([Fraction(1, 3), Fraction(2, 3)]), "number", "numbers"),
    "numbers as text": (cycle(["1.5", "2", "3e2"]), "number", "numbers"),
    "ints as text": (cycle(["4", "7", "8"]), "number", "whole numbers"),
    "thousands": (cycle(["1,234", "12,000", "999"]), "number", "text, such as '1,234'"),
    "percent": (cycle(["45%", "3.5 %", "100%"]), "number", "written as text, such as '45%'"),
    "dollars": (cycle(["$1,200", "$3.50", "-$7"]), "number", "such as '$1,200'"),
    "accounts": (cycle(["(1,200)", "3.50"]), "number", "such as '(1,200)'"),
    "decimal commas": (cycle(["1,5", "2,25", "1.234,5"]), "number", "such as '1,5'"),
    "spaces": (cycle(["1 234,5", "1\u00a0000,5"]), "number", "such as '1 234,5'"),
    "questions": (cycle(["5", "?", "7", "n/a", "-"]), "number", "36 cells count as missing: '?'"),
    "one word": ([str(i * 3) for i in range(99)] + ["many"], "number", "1 cell counts as missing"),
    "a word of few": (cycle(["1", "2", "3", "crew"]), "category", "text"),
    "underscores": (cycle(["1_000", "2_000"]), "category", "text"),
    "ISO dates": (cycle(["2024-01-31", "2024-02-01"]), "date", "such as '2024-01-31'"),
    "times": (cycle(["2024-01-31T10:00:00Z", "2024-02-01 11:30"]), "date", "dates as text"),
    "German dates": (cycle(["31.01.2024", "1.2.2024"]), "date", "dates as text"),
    "slashes, day first": (cycle(["31/01/2024", "01/02/2024"]), "date", "such as '31/01/2024'"),
    "slashes, either": (cycle(["03/04/2024", "01/02/2024"]), "date", "read as month, day, year"),
    "month names": (cycle(["1 Jan 2024", "31-Dec-2023", "Jan 5, 2024"]), "date", "dates"),
    "dates with gaps": (cycle(["2024-01-31", "NA", "2024-02-01", None]), "date", "dates"),
    "date objects": (cycle([datetime.date(2024, 1, 31), None, datetime.date(2023, 1, 1)]), "date",
                     "dates"),
    "datetime64": (np.arange(N).astype("M8[D]"), "date", "dates"),
    "timedelta": (cycle([datetime.timedelta(1), datetime.timedelta(hours=2)]), "duration", ""),
    "timedelta64": (np.arange(N).astype("m8[h]"), "duration", "durations"),
    "clock": (cycle([datetime.time(9, 30), datetime.time(23)]), "duration", "durations"),
    "clock as text": (cycle(["09:30", "23:00:05", "1 days 02:00:00"]), "duration", "times of day"),
    "constant": ([5] * N, "left out", "constant: 5 in every row"),
    "constant text": (["x"] * N, "left out", "constant: 'x' in every row"),
    "constant date": (["2024-01-31"] * N, "left out", "constant: '2024-01-31' in every row"),
    "all missing": ([None] * N, "left out", "every cell is missing"),
    "empty text": (["", " "] * (N // 2), "left out", "every cell is missing"),
    "names": ([f"n{i:x}" for i in range(N)], "left out", "an id: nearly every row has a text"),
    "codes": ([f"{i:05d}" for i in range(N)], "left out", "an id: nearly every row has a code"),
    "prose": (cycle([f"the {i} words of a long text, which goes on" for i in range(40)]),
              "left out", "free text"),
}  # fmt: skip


@pytest.mark.parametrize("name", RECOGNISED)
def test_recognised(name):
    cells, kind, reason = RECOGNISED[name]
    column = column_of(cells)
    assert column.kind == kind
    assert reason in column.reason
    assert bool(column.inputs) == (kind != "left out")


IDS = {
    "id": ("id", G.permutation(10_000)[:N]),
    "customer_id": ("customer_id", G.permutation(10_000)[:N]),
    "PassengerId": ("PassengerId", np.arange(1, N + 1)),
    "text": ("row no", [str(i * 7) for i in range(N)]),
}


@pytest.mark.parametrize("name", IDS)
def test_numbers_that_are_unique_and_called_like_an_id(name):
    called, cells = IDS[name]
    assert column_of(cells, called).kind == "left out"
    assert column_of(cells, "distance").kind == "number"
    assert column_of([5, *list(cells)[1:-1], 5] if name != "text" else ["1", *cells[:-2], "1"],
                     called).kind == "number"  # fmt: skip


def test_rows_that_are_counted():
    rows = np.arange(1, N + 1)
    table = {"row": rows, "y": G.normal(size=N)}
    assert Encoding.fit(table).columns["row"].reason == "an id: each row has a number of its own"
    table = {"obs": G.permutation(rows)[: N - 10], "y": G.normal(size=N - 10)}
    assert Encoding.fit(table).columns["obs"].reason == "counts the rows"
    assert Encoding.fit({"y": table["y"], "obs": table["obs"]}).columns["obs"].kind == "number"
    assert Encoding.fit({"year": rows + 1950, "y": G.normal(size=N)}).columns["year"].inputs == 1


def test_a_curve_over_its_row_numbers_has_an_input():
    assert Encoding.fit({"t": np.arange(N)}).input_names == ["t"]
    assert Encoding.fit(np.arange(N)[:, None]).input_names == ["x0"]


def test_few_rows_may_each_have_their_own_text():
    assert column_of(["ann", "bob", "cleo"]).kind == "category"


@pytest.mark.parametrize(
    ("text", "decimal", "number"),
    [
        ("1,234.5", ".", 1234.5),
        ("1.234,5", ",", 1234.5),
        ("1'234.5", ".", 1234.5),
        ("€ 1,5", ",", 1.5),
        ("12 EUR", ".", 12.0),
        ("+3", ".", 3.0),
        ("\u22127", ".", -7.0),
        ("(7)", ".", -7.0),
        (".5", ".", 0.5),
        (",5", ",", 0.5),
        ("1e3", ",", 1000.0),
        ("2.5", ",", 2.5),
    ],
)
def test_numbers_in_texts(text, decimal, number):
    assert number_in(text, decimal) == number


@pytest.mark.parametrize(
    "text", ["", "1,23", "1,2345", "a1", "1_0", "$", "%", "1 2", "(1", "1.2.3"]
)
def test_what_is_no_number(text):
    with pytest.raises(ValueError, match="is no number"):
        number_in(text)


@pytest.mark.parametrize(
    ("text", "order", "date"),
    [
        ("2024-03-04", "dmy", (2024, 3, 4)),
        ("2024/3/4", "dmy", (2024, 3, 4)),
        ("3.4.2024", "dmy", (2024, 4, 3)),
        ("3/4/24", "mdy", (2024, 3, 4)),
        ("3/4/99", "mdy", (1999, 3, 4)),
        ("4 March 2024", "mdy", (2024, 3, 4)),
        ("04-Mar-2024", "mdy", (2024, 3, 4)),
        ("Mon, 4 Mar 2024", "mdy", (2024, 3, 4)),
        ("March 4th, 2024", "mdy", (2024, 3, 4)),
        ("2024-03-04T05:06:07.25+02:00", "ymd", (2024, 3, 4, 5, 6, 7, 250_000)),
        ("3/4/2024 12:05 AM", "mdy", (2024, 3, 4, 0, 5)),
    ],
)
def test_dates_in_texts(text, order, date):
    assert date_in(text, order) == datetime.datetime(*date)


@pytest.mark.parametrize(
    "text",
    ["", "x", "2024", "20240304", "31/02/2024", "1.5", "12-34", "13/13/2024", "3/4/2024 13 PM"],
)
def test_what_is_no_date(text):
    with pytest.raises(ValueError, match="no date"):
        date_in(text, "mdy")


def test_durations_in_texts():
    assert duration_in("2 days 03:04:05.5") == 2 * 86400 + 3 * 3600 + 4 * 60 + 5.5
    assert duration_in("-1 days +23:00:00") == -3600
    with pytest.raises(ValueError, match="'three' is no duration"):
        duration_in("three")


def test_numbers_as_the_names_of_categories():
    assert [number_as_text(one) for one in (1.0, -2.0, 0.5, 1e300)][:3] == ["1", "-2", "0.5"]


# --- said otherwise ---------------------------------------------------------------------------


def test_kinds_can_be_said():
    whole = cycle([1, 2, 3, 4])
    column = column_of(whole, kinds={"a": "category"})
    assert (column.known, column.reason) == (["1", "2", "3", "4"], "as told")
    assert column_of(cycle(["7", "11", "9"]), kinds={"a": "category"}).known == ["11", "7", "9"]
    assert column_of(cycle(["00501", "10115"]), kinds={"a": "number"}).high == 10115
    assert column_of([f"n{i:x}" for i in range(N)], kinds={"a": "category"}).cardinality == N + 2
    assert column_of(cycle([0, 1]), kinds={"a": "boolean"}).flag_names == ["a=True"]
    assert column_of(cycle([1, 2]), kinds={"a": "left out"}).inputs == 0
    assert column_of(np.arange(N), "id", kinds={"id": "number"}).inputs == 1
    told = {"a": {"kind": "date", "order": "dmy"}}
    assert column_of(cycle(["03/04/2024", "01/02/2024"]), kinds=told).order == "dmy"
    assert (
        column_of(cycle(["03/04/2024", "01/02/2024"]), kinds={"a": {"order": "dmy"}}).order == "dmy"
    )
    assert column_of(cycle(["1,234", "2,345"]), kinds={"a": {"decimal": ","}}).high == 2.345
    assert column_of(cycle(WORDS), kinds={"a": {"one_hot_up_to": 2}}).cardinality == 5
    assert column_of(G.normal(size=N), kinds={"a": {"numbers": "quantile"}}).parts[""].kind == (
        "quantile"
    )


WRONG_OPTIONS = {
    "kind": ({"kinds": {"a": "categorical"}}, "kind must be one of 'number', 'category'"),
    "option": ({"kinds": {"a": {"knd": "number"}}}, "unknown option of kinds.*did you mean 'kind'"),
    "column": ({"kinds": {"other2": "number"}}, "kinds: 'other2' is not a column; did you mean 'o"),
    "drop": ({"drop": ["b"]}, "drop: 'b' is not a column"),
    "numbers": ({"numbers": "robus"}, "numbers must be one of 'robust', 'quantile', 'standard'"),
    "one-hot": ({"one_hot_up_to": 2.5}, "one_hot_up_to must be a whole number from 0, got 2.5"),
    "nothing": ({"drop": ["a", "other"]}, r"no column is left as input: 'other' \(as told\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_OPTIONS)
def test_wrong_options(name):
    options, message = WRONG_OPTIONS[name]
    with pytest.raises(ValueError, match=message):
        column_of(cycle([1, 2, 3]), **options)


def test_kinds_of_another_type():
    with pytest.raises(TypeError, match=r"kinds\['a'\] must be a kind such as 'category'"):
        column_of(cycle([1, 2, 3]), kinds={"a": 3})


def test_drop_takes_one_name_too():
    column = column_of(cycle([1, 2, 3]), drop="a")
    assert (column.kind, column.reason) == ("left out", "as told")


WRONG_CELLS = {
    "infinite": ([1.0, np.inf, 3.0], "column 'a', row 2: is infinite; expected finite numbers"),
    "infinite text": (["1", "2", "-inf"], "column 'a', row 3: is infinite"),
    "list": ([[1], [2], [3]], "column 'a', row 1: holds list; expected numbers, text"),
    "one list": (["x", ["y"], "z"], "column 'a', row 2: holds list"),
    "complex": ([1j, 2j, 3j], "column 'a', row 1: holds complex"),
    "date and number": ([1, datetime.date(2024, 1, 1), 3], "row 2: mixes int and date"),
    "huge": ([1, 10**400, 3], "row 2: holds a whole number that is too large"),
    "far": (np.array(["0001-01-01", "2000-01-01", "12000-01-01"], "M8[D]"),
            "row 3: is not within the years 1 to 9999"),
    "word among dates": (["2024-01-31", "2024-02-01"] * 20 + ["soon"],
                         "row 41: holds 'soon' among dates"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_CELLS)
def test_wrong_cells(name):
    cells, message = WRONG_CELLS[name]
    table = of({"a": cells}, source="t.csv")
    with pytest.raises(ValueError, match=f"t.csv: .*{message}"):
        Encoding.fit(table)


DAY = datetime.date(2020, 1, 1)
SEVERAL = {
    "blank among dates": ([DAY, "", datetime.date(2021, 1, 1), ""] * 10, "date", 20),
    "blank among durations": ([datetime.timedelta(1), " ", datetime.timedelta(2)] * 10,
                              "duration", 10),
    "dates as text": ([datetime.date(2020, 3, 1), "31.12.2020", "1.2.2021", "NA"] * 6, "date", 6),
    "times as text": ([datetime.timedelta(1), "1:00", "NA"] * 8, "duration", 8),
    "flags and numbers": ([True, 0.5, 2, None] * 6, "number", 6),
    "strings of numpy": ([np.str_("a"), "b", None] * 8, "category", 8),
    "signaling": ([Decimal("sNaN"), Decimal(1), Decimal(2)] * 8, "number", 8),
}  # fmt: skip


@pytest.mark.parametrize("name", SEVERAL)
def test_cells_of_several_kinds(name):
    cells, kind, missing = SEVERAL[name]
    column = column_of(cells)
    assert (column.kind, column.missing) == (kind, missing)


def test_text_among_dates_is_read_as_it_is_written():
    encoding = Encoding.fit({"a": [datetime.date(2020, 3, 1), "31.12.2020", "1.2.2021"] * 8})
    dates = [datetime.date(2020, 3, 1), datetime.date(2020, 12, 31), datetime.date(2021, 2, 1)] * 8
    want = Encoding.fit({"a": dates}).encode({"a": dates})
    for same in (dates, ["1.3.2020", "31.12.2020", DAY.replace(2021, 2)] * 8):
        np.testing.assert_array_equal(encoding.encode({"a": same}), want)


UNLIKE = {
    "date and word": ([DAY, "soon"] * 12, "row 2: mixes date and str"),
    "date and duration": ([DAY, datetime.timedelta(1)] * 12, "row 2: mixes date and timedelta"),
    "duration and number": ([datetime.timedelta(1), 5] * 12, "row 2: mixes timedelta and int"),
}


@pytest.mark.parametrize("name", UNLIKE)
def test_cells_of_unlike_kinds(name):
    cells, message = UNLIKE[name]
    with pytest.raises(ValueError, match=f"column 'a', {message}; expected one kind"):
        Encoding.fit({"a": cells})
    with pytest.raises(ValueError, match="mixes"):
        Target.fit(cells)


AS_TOLD = {
    "boolean": "holds 'u'; expected true and false, as told",
    "number": "holds the text 'u'; expected numbers, as told",
    "date": "holds 'u'; expected dates such as 2024-12-31, as told",
    "duration": "holds 'u'; expected durations",
}


@pytest.mark.parametrize("kind", AS_TOLD)
def test_kind_that_the_cells_are_not(kind):
    with pytest.raises(ValueError, match=f"column 'a', row 1: {AS_TOLD[kind]}$"):
        column_of(["u", "v", "w"] * 8, kinds={"a": kind})


def test_booleans_as_told():
    column = column_of(["TRUE", "0", "NA", "1.0"] * 6, kinds={"a": "boolean"})
    assert (column.known, column.missing) == (["False", "True"], 6)
    with pytest.raises(ValueError, match="column 'a', row 2: holds '7'; expected true and false"):
        column_of([1, 7, 0] * 8, kinds={"a": "boolean"})


def test_what_is_no_name_and_no_row():
    table = {"a": [1.0, 2.0] * 12, "b": [1.0, 2.0, 3.0] * 8}
    for drop in ([["a"]], 3):
        with pytest.raises(TypeError, match="drop must be names of columns, got"):
            Encoding.fit(table, drop=drop)
    with pytest.raises(TypeError, match="kinds must be a dict"):
        Encoding.fit(table, kinds=["number"])
    for row in (None, 3, "ab", {1, 2}):
        with pytest.raises(TypeError, match="a row is a dict of cells by name or a sequence"):
            Encoding.fit(table).encode_one(row)


def test_numbers_of_which_most_are_one_have_codes_too():
    gains = np.repeat([0.0, 5.0, 7.0, 8.0, np.nan], [90, 12, 10, 3, 4])
    encoding = Encoding.fit({"gain": gains, "age": np.arange(119.0)})
    gain = encoding.columns["gain"]
    assert gain.levels.tolist() == [0.0, 5.0, 7.0]  # 8 is rare
    assert (encoding.cardinalities, gain.label) == ([5], "number, also codes")
    assert encoding.columns["age"].levels is None
    new = {"gain": [0.0, 5.0, 7.0, 8.0, 6.5, None], "age": [1.0] * 6}
    assert encoding.encode(new)[:, -1].tolist() == [2, 3, 4, 0, 0, 1]
    again = Encoding.from_file(*encoding.to_file())
    for row, inputs in enumerate(encoding.encode(new)):
        one = {name: cells[row] for name, cells in new.items()}
        assert encoding.encode_one(one).tolist() == inputs.tolist()
        assert again.encode_one(one).tolist() == inputs.tolist()
