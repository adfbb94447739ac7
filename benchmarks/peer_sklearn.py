"""scikit-learn's side of `peers.py`: `partial_fit` and `predict`.

Its squared loss is half the sum over outputs, averaged over samples: outputs / 2 times the mean
over samples and outputs that the others use. Gradients are larger by that factor, so the
learning rate of SGD and Adam's epsilon are set to make the same steps.
"""

import warnings

import numpy as np
from peer_sides import Side
from sklearn.neural_network import MLPClassifier, MLPRegressor


class ScikitLearn(Side):
    """The model is given rows in order, so that its batches are views."""

    def build(self):
        _, *hidden, outputs = self.network.sizes
        self.is_classifier = self.network.loss == "crossentropy"
        scale = 1 if self.is_classifier else outputs / 2
        parameters = dict(self.hyper_parameters)
        rate = parameters.pop("learning_rate")
        if self.cell.optimizer == "adam":
            parameters["epsilon"] *= scale
        else:
            rate /= scale
            parameters["nesterovs_momentum"] = False
        self.model = (MLPClassifier if self.is_classifier else MLPRegressor)(
            hidden_layer_sizes=hidden,
            activation=self.cell.activation,
            solver="adam" if self.cell.optimizer == "adam" else "sgd",
            learning_rate_init=rate,
            alpha=0.0,
            batch_size=self.network.batch,
            shuffle=False,
            n_iter_no_change=10**9,
            **parameters,
        )
        self.y = self.y.squeeze(1) if self.y.ndim > 1 and outputs == 1 else self.y
        classes = {"classes": np.arange(outputs)} if self.is_classifier else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a prediction may have fewer rows than a batch
            self.model.partial_fit(self.x, self.y, **classes)  # creates the weight arrays

    def set_weights(self):
        model, weights = self.model, self.arrays.weights
        for view, weight in zip(
            model.coefs_ + model.intercepts_, weights[::2] + weights[1::2], strict=True
        ):
            view[...] = weight
        # The attributes that the first partial_fit creates.
        model.__dict__.pop("_optimizer", None)
        model.t_, model.loss_curve_, model.best_loss_ = 0, [], np.inf
        model._no_improvement_count = 0

    def train(self, steps):
        rows = steps * self.network.batch
        self.model.partial_fit(self.x[:rows], self.y[:rows])

    def epoch(self):
        order = self.generator.permutation(len(self.x))
        self.model.partial_fit(self.x[order], self.y[order])

    def predict(self, x) -> np.ndarray:
        return self.model.predict_proba(x) if self.is_classifier else self.model.predict(x)

    def outputs(self, x):
        outputs = self.predict(x).astype(np.float64)
        return np.log(outputs) if self.is_classifier else outputs.reshape(len(x), -1)
