"""Callbacks whose files cannot be written: the training ends, or goes on with a warning."""

from __future__ import annotations

import os
import shutil

import pytest
from callback_helpers import data, small
from limits import limited_file_size

import fastnn as fnn


class Vanishes(fnn.Callback):
    """Removes a folder before an epoch, and makes it again before another one."""

    added_results = ()

    def __init__(self, folder, begin, end=None):
        self.folder, self.begin, self.end = folder, begin, end

    def on_epoch_begin(self, epoch):
        if epoch == self.begin:
            shutil.rmtree(self.folder)
        if epoch == self.end:
            os.makedirs(self.folder)


def writers(folder, **options):
    return {
        "model": fnn.ModelCheckpoint(folder / "a" / "{epoch}" / "m", **options),
        "best": fnn.ModelCheckpoint(
            folder / "a" / "m", monitor="loss", save_best_only=True, **options
        ),
        "table": fnn.CSVLogger(folder / "log.csv", **options),
    }


@pytest.mark.parametrize("name", ["model", "best", "table"])
def test_a_folder_that_vanishes_is_an_error_and_is_not_made_again(name, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    model, (x, y) = small(), data()
    writer = writers(folder)[name]
    with pytest.raises(FileNotFoundError, match=r"run/"):
        model.fit(x, y, epochs=4, verbose=0, callbacks=[Vanishes(folder, 2), writer])
    assert not folder.exists()


@pytest.mark.parametrize("name", ["model", "best", "table"])
def test_a_training_may_go_on_without_its_files(name, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    model, (x, y) = small(), data()
    writer = writers(folder, on_error="warn")[name]
    callbacks = [Vanishes(folder, 1, 3), writer]
    with pytest.warns(UserWarning, match=r"run/.*; the training goes on without it"):
        history = model.fit(x, y, epochs=4, verbose=0, callbacks=callbacks)
    assert len(history.history["loss"]) == 4
    if name == "table":  # the columns are not written again
        assert (folder / "log.csv").read_text().startswith("3,")
    else:
        assert not (folder / "a").exists()


def test_the_best_that_could_not_be_saved_is_not_the_best_that_was(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    model, (x, y) = small(), data()
    best = fnn.ModelCheckpoint(
        folder / "m", monitor="loss", save_best_only=True, on_error="warn"
    )  # fmt: skip
    with pytest.warns(UserWarning, match="the training goes on"):
        model.fit(x, y, epochs=1, verbose=0, callbacks=[Vanishes(folder, 0), best])
    assert best.best is None
    assert best.last_path is None
    model.fit(x, y, epochs=1, verbose=0, callbacks=[best])
    assert (folder / "m").exists()


def test_a_full_disk_adds_no_part_of_a_line(tmp_path):
    path, model, (x, y) = tmp_path / "log.csv", small(), data()
    model.fit(x, y, epochs=1, verbose=0, callbacks=[fnn.CSVLogger(path)])
    old = path.read_bytes()
    logger = fnn.CSVLogger(path, append=True)
    with limited_file_size(len(old) + 5), pytest.raises(OSError, match=r"log\.csv"):
        model.fit(x, y, epochs=1, verbose=0, callbacks=[logger])
    assert path.read_bytes() == old
    logger = fnn.CSVLogger(path, append=True, on_error="warn")
    with limited_file_size(len(old) + 5), pytest.warns(UserWarning, match=r"log\.csv"):
        model.fit(x, y, epochs=2, verbose=0, callbacks=[logger])
    assert path.read_bytes() == old


def test_on_error_is_checked(tmp_path):
    with pytest.raises(ValueError, match="on_error must be 'raise' or 'warn', got 'ignore'"):
        fnn.CSVLogger(tmp_path / "log.csv", on_error="ignore")
    assert fnn.TensorBoard(on_error="warn").on_error == "warn"
