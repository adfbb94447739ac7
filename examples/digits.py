"""Handwritten digits: train on four fifths of them, judge on the fifth that was held out.

Training ends when the predictions of a tenth of the training rows, set apart for validation, do not
improve any more; the held-out digits have no influence on that. The confusion matrix says more than
the accuracy: which digits are mistaken for which.
"""

import sys
from pathlib import Path

import numpy as np

import fastnn as fnn
from fastnn import plots

x, y = fnn.datasets.load_digits()
train, held_out = fnn.datasets.hold_out(x / 16, y, 0.2, stratify=True, seed=0)

model = fnn.Sequential(
    [fnn.Dense(64, "relu"), fnn.Dropout(0.2), fnn.Dense(10)], input_shape=(64,), seed=0
)
model.compile("adam", "crossentropy", metrics=["accuracy", "confusion_matrix"])
history = model.fit(
    *train,
    epochs=100,
    validation_split=0.1,
    callbacks=[fnn.EarlyStopping(patience=8)],
    verbose=0,
)

results = model.evaluate(*held_out)
matrix = results["confusion_matrix"]
mistakes = [f"{truth} for {said}" for truth, said in np.argwhere(matrix) if truth != said]
print(history.stop_reason)
print(f"{results['accuracy']:.1%} of {len(held_out[1])} held-out digits are read correctly")
print(f"mistaken for another digit: {', '.join(mistakes)}")
plots.confusion_matrix(matrix, labels=fnn.datasets.DIGIT_NAMES).figure.savefig(
    Path(*sys.argv[1:2], "digits.png"), dpi=80
)
