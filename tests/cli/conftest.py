"""A folder of its own with a table for each test, the command in this process, trained models."""

import pytest
from command_helpers import houses

import fastnn as fnn
from fastnn import cli


@pytest.fixture
def here(tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    houses().to_csv("houses.csv", index=False)
    return tmp_path


@pytest.fixture
def run(here, capsys):
    """Run a command in a folder of its own; return status, standard output and error."""

    def call(*argv):
        try:
            status = cli.main([str(arg) for arg in argv])
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    yield call
    fnn.set_num_threads(None)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Folders of a model of classes, `kind`, of one of numbers, `price`, and of quantiles."""
    pytest.importorskip("pandas")
    folder = tmp_path_factory.mktemp("models")
    houses().to_csv(folder / "houses.csv", index=False)
    options = {"kind": ["--drop", "price"], "price": ["--drop", "kind"]}
    options["quantiles"] = ["--drop", "kind", "--quantiles", "0.1", "0.5", "0.9"]
    for name, more in options.items():
        target = "price" if name == "quantiles" else name
        status = cli.main(
            ["train", str(folder / "houses.csv"), "--target", target, "-q", "--members", "1",
             "--epochs", "30", "--output", str(folder / name), *more]
        )  # fmt: skip
        assert status == 0
    return folder


@pytest.fixture
def numbers(models):
    return models / "price" / "model.safetensors"


@pytest.fixture
def classes(models):
    return models / "kind" / "model.safetensors"
