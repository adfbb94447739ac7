"""fastnn's side of `peers.py`: `fit` and `predict`, called the way users call them."""

import numpy as np
from peer_data import model_of
from peer_sides import Side

import fastnn as fnn

OPTIMIZERS = {"adam": fnn.Adam, "rmsprop": fnn.RMSprop, "momentum": fnn.SGD}


class Fastnn(Side):
    """One `fit` on a block of steps; no metrics, no callbacks."""

    def build(self):
        self.model = model_of(self.cell)
        self.model.compile(
            OPTIMIZERS[self.cell.optimizer](**self.hyper_parameters), self.network.loss
        )

    def set_weights(self):
        self.model.set_weights(self.arrays.weights)
        self.model.network.runtime.reset_optimizer()

    def train(self, steps):
        rows = steps * self.network.batch
        self.model.fit(
            self.x[:rows], self.y[:rows], batch_size=self.network.batch, shuffle=False, verbose=0
        )

    def epoch(self):
        self.model.network.generator = self.generator
        self.model.fit(self.x, self.y, batch_size=self.network.batch, verbose=0)

    def predict(self, x) -> np.ndarray:
        return self.model.predict(x)
