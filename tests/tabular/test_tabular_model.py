"""A model with its encoding: what `fastnn.load` gives for it."""

import json

import numpy as np
import pytest

import fastnn as fnn
from fastnn.exchange import model_file
from fastnn.tabular import Encoding, TabularModel, Target

G = np.random.default_rng(0)
TABLE = {
    "size": G.normal(50, 10, 60),
    "town": [["Köln", "Nara", "Oslo"][i % 3] for i in range(60)],
    "garden": G.random(60) > 0.5,
}
PRICE = 1e6 + 1e4 * TABLE["size"]


def made(values, **options):
    encoding, target = Encoding.fit(TABLE), Target.fit(values, **options)
    last = fnn.Dense(1) if target.classes is None else fnn.Dense(len(target.classes), "softmax")
    model = fnn.Sequential([last], input_shape=(encoding.inputs,), seed=0)
    return TabularModel(model, encoding, target, {"more": [1]})


def test_loaded_model_takes_the_columns_and_answers_in_the_unit(tmp_path):
    """It once took encoded columns, and gave encoded numbers, without a word."""
    model = made(PRICE)
    model.save(tmp_path / "m.safetensors")
    loaded = fnn.load(tmp_path / "m.safetensors")
    assert isinstance(loaded, TabularModel)
    assert loaded.attachments == {"more": [1]}
    predicted = loaded.predict(TABLE)
    assert (predicted.dtype, predicted.shape) == (np.float64, (60,))
    outputs = np.asarray(loaded.model.predict(loaded.encoding.encode(TABLE)))
    np.testing.assert_allclose(predicted, outputs[:, 0] * PRICE.std() + PRICE.mean(), rtol=1e-6)
    assert abs(predicted.mean() - PRICE.mean()) < 5 * PRICE.std()
    row = {name: cells[7] for name, cells in TABLE.items()}
    assert loaded.predict_one(row) == pytest.approx(predicted[7], rel=1e-6)
    with pytest.raises(ValueError, match="predicts numbers; there are no classes"):
        loaded.predict_proba(TABLE)
    assert repr(loaded) == "<TabularModel: regression of 'y' from 3 columns>"


def test_loaded_model_answers_with_classes(tmp_path):
    model = made([["no", "yes"][i % 2] for i in range(60)], name="sold")
    model.save(tmp_path / "m.safetensors")
    loaded = fnn.load(tmp_path / "m.safetensors")
    probabilities = loaded.predict_proba(TABLE)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    want = np.array(["no", "yes"], object)[probabilities.argmax(axis=1)]
    assert loaded.predict(TABLE).tolist() == want.tolist()
    row = [cells[3] for cells in TABLE.values()]
    assert loaded.predict_one(row) == want[3]


def test_class_of_one_row_is_a_python_object():
    model = made(np.arange(60) % 3)
    assert type(model.predict_one([cells[0] for cells in TABLE.values()])) is int


def test_plain_model_stays_a_model(tmp_path):
    fnn.Sequential([fnn.Dense(1)], input_shape=(3,)).save(tmp_path / "m.safetensors")
    assert isinstance(fnn.load(tmp_path / "m.safetensors"), fnn.Sequential)


def test_row_without_a_finite_answer_is_named():
    model = made(PRICE)
    weights = model.model.get_weights()
    model.model.set_weights([np.full_like(weights[0], 3e38), weights[1]])
    with pytest.raises(ValueError, match=r"gives no finite number for row \d"):
        model.predict(TABLE)


def test_columns_of_another_network():
    model = made(PRICE)
    other = fnn.Sequential([fnn.Dense(1)], input_shape=(model.encoding.inputs + 1,), seed=0)
    with pytest.raises(ValueError, match="columns and network do not fit each other: 5 inputs"):
        TabularModel(other, model.encoding, model.target)


DAMAGES = {
    "nothing": None,
    "older": {"task": "regression", "columns": []},
    "no target": "target",
    "no encoding": {"encoding": None, "target": None},
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_file(tmp_path, name):
    model = made(PRICE)
    entries, tensors = model.encoding.to_file()
    table = DAMAGES[name]
    if table == "target":
        table = {"encoding": entries}
    path = tmp_path / "broken.safetensors"
    model_file.save(model.model.network, path, attachments={"table": table}, tensors=tensors)
    with pytest.raises(ValueError, match=r"broken\.safetensors.*(damaged|train it again)"):
        fnn.load(path)


def test_description_is_plain_json():
    entries, tensors = made(PRICE).encoding.to_file()
    json.dumps(entries)
    assert all(one.dtype == np.float64 for one in tensors.values())
