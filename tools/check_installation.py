"""Check an installation from outside the source tree: it imports, trains, saves and loads.

Usage: python check_installation.py FOLDER, the output of `fastnn train --output FOLDER`.
"""

import sys
import sysconfig
from pathlib import Path

import fastnn as fnn


def main() -> None:
    """Raise AssertionError if something is not as it should be."""
    assert "site-packages" in fnn.__file__, f"fastnn comes from {fnn.__file__}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert not sys._is_gil_enabled(), "importing fastnn has enabled the GIL"
    x, y = fnn.datasets.load_digits()
    train, held_out = fnn.datasets.split(y)
    model = fnn.Sequential(
        [fnn.Dense(64, activation="relu"), fnn.Dropout(0.1), fnn.Dense(10)],
        input_shape=(64,),
        seed=0,
    )
    model.compile("adam", "crossentropy", metrics=["accuracy"])
    model.fit(x[train] / 16, y[train], epochs=20, verbose=0)
    accuracy = model.evaluate(x[held_out] / 16, y[held_out])["accuracy"]
    assert accuracy > 0.93, f"held-out accuracy is {accuracy}"
    saved = list(Path(sys.argv[1]).glob("*.safetensors"))
    assert len(saved) == 1, f"{sys.argv[1]} holds {saved}"
    fnn.load(saved[0])
    facts = fnn.show_config("dict")
    assert facts is not None
    if not facts["openmp"]:
        fnn.set_num_threads(4)
        assert fnn.get_num_threads() == 1, "a build without OpenMP has one worker"
    print(f"fastnn {fnn.__version__} works: accuracy {accuracy:.3f}, ISA {facts['isa']}")


if __name__ == "__main__":
    main()
