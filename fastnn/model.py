"""`Model` and `Sequential`: build, weights, compile, fit, evaluate, predict, save."""

from __future__ import annotations

import copy
import copyreg
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Never, NoReturn

import numpy as np

from fastnn.callbacks import Callback
from fastnn.compilation import objective_of
from fastnn.core import checks, hints
from fastnn.layers import Layer, Shape, Tensor
from fastnn.layers import graph as layer_graph
from fastnn.network import Network, checked_options
from fastnn.optimizers import Optimizer
from fastnn.runtime import ROWS
from fastnn.training import decisions, evaluation, loop, single_sample, steps
from fastnn.training.history import History
from fastnn.training.manual import ManualSteps

if TYPE_CHECKING:
    from fastnn.analysis.diagnosis import Diagnosis
    from fastnn.analysis.lr_finder import LearningRateFinder
    from fastnn.analysis.profiling import Profile


@hints.explains_arguments("predict", "predict_one", "learn_one")
class Model:
    """A network of layers as a graph from inputs to outputs.

    Parameters
    ----------
    inputs : Tensor or list of Tensor
        The tensors that `Input` returned.
    outputs : Tensor or list of Tensor
        What the layers returned for them. Where there are several, each has the name of its
        layer: `predict` returns a list, and targets and losses are lists or dicts keyed by name.
    dtype : {"float32", "float64"}, default "float32"
        Of parameters and arithmetic; data may have any real dtype.
    seed : int, optional
        Determines initial weights, shuffling and dropout; None: a different seed each time.
        NumPy's global generator is never touched.

    Attributes
    ----------
    layers : list of Layer
    parameters, gradients : dict of str to ndarray
        Views, keyed by "layer/parameter": "dense/kernel" has shape (inputs, units). The gradients
        are those of `backward`; training applies its own at once and may not store them here.
    history : History or None
        Of the last `fit`.
    stop_training : bool
        Set it in a callback to end `fit`.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x = fnn.Input((64,))
    >>> h = fnn.Dense(64, activation="gelu")(x)
    >>> model = fnn.Model(x, fnn.Dense(10)(fnn.Add()([x, h])), seed=0)
    >>> model.output_shape
    (10,)
    """

    def __init__(
        self,
        inputs: Tensor | Sequence[Tensor],
        outputs: Tensor | Sequence[Tensor],
        *,
        dtype: str = "float32",
        seed: int | None = None,
    ) -> None:
        self._hold(Network(*checked_options(dtype, seed)))
        self.network.build(*layer_graph.checked_ends(inputs, outputs))

    def _hold(self, network: Network) -> None:
        """Wrap a network."""
        self.network = network
        self._manual = ManualSteps(network)

    @classmethod
    def of(cls, network: Network) -> Model:
        """Return a model of a network: a `Sequential` if its layers form a chain.

        Parameters
        ----------
        network : fastnn.network.Network

        Returns
        -------
        Model
        """
        kind = Sequential if network.is_sequential else Model
        model = kind.__new__(kind)
        model._hold(network)
        return model

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # what copying and pickling ask for
            raise AttributeError(name)
        raise hints.missing_attribute("Model", name, _public_names(type(self)))

    def __setattr__(self, name: str, value: object) -> None:
        cls = type(self)
        if name == "network" and not isinstance(value, Network):
            raise AttributeError(
                f"Model.network is the network that is trained, it cannot be {value!r}: choose "
                "another name"
            )
        is_known = name in ("network", "_manual") or hasattr(cls, name)
        if not is_known and (cls in (Model, Sequential) or _is_meant_otherwise(name)):
            raise hints.missing_attribute("Model", name, _SETTABLE)
        super().__setattr__(name, value)

    def __reduce__(self) -> tuple:
        """Copy and pickle a model by its description, because its arrays share memory.

        A subclass, attributes of one's own, and what `compile` was given are kept as they are.
        """
        from fastnn.exchange import model_file

        if not self.built:
            state = copy.deepcopy(self.__dict__)  # copy.copy must not share the network
            return copyreg.__newobj__, (type(self),), state  # type: ignore[attr-defined]
        layers = {id(layer): number for number, layer in enumerate(self.layers)}
        own = {
            name: _by_number(value, layers)
            for name, value in vars(self).items()
            if name not in ("network", "_manual")
        }
        made = model_file.copied(self.network)
        if made.objective is not None:  # copy.copy must not share the optimizer
            made.objective = copy.deepcopy(made.objective)
        return _from_copied, (type(self), made, own)

    def __repr__(self) -> str:
        name = f"{type(self).__name__} of {checks.counted(len(self.layers), 'layer')}"
        if not self.built:
            return f"<{name}, not built yet>"
        shapes = [shape for _, shape in self.input_shapes]
        given = shapes[0] if len(shapes) == 1 else shapes
        return (
            f"<{name}, {given} to {self.output_shape}, "
            f"{self.count_parameters():,} parameters, {self.dtype}>"
        )

    # --- components -----------------------------------------------------------------------------

    @property
    def dtype(self) -> str:
        """The dtype of parameters and outputs: "float32" or "float64". It is compiled in."""
        return self.network.dtype

    @property
    def seed(self) -> int | None:
        """The seed of initial weights, shuffling and dropout; None if they are random."""
        return self.network.seed

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, each once if the model is built; for other layers, make another model."""
        return self.network.layers

    @property
    def built(self) -> bool:
        """Whether the shapes, and so the parameters, are known."""
        return self.network.built

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """Views of the parameters, keyed by "layer/parameter"."""
        return dict(self.network.runtime.parameters)

    @property
    def gradients(self) -> dict[str, np.ndarray]:
        """Views of the gradients, keyed by "layer/parameter"."""
        return dict(self.network.runtime.gradients)

    @property
    def input_shapes(self) -> list[tuple[str, Shape]]:
        """Name and shape of one sample of each input."""
        return self.network.input_shapes

    @property
    def output_shape(self) -> Shape | list[Shape]:
        """Shape of one sample of the output; a list of shapes if there are several outputs."""
        shapes = self.network.output_shapes
        return shapes[0] if len(shapes) == 1 else shapes

    @property
    def output_names(self) -> list[str]:
        """Name of each output: that of the layer it comes from."""
        return self.network.output_names

    def count_parameters(self) -> int:
        """Return the number of parameters."""
        return self.network.count_parameters()

    def get_weights(self) -> list[np.ndarray]:
        """Return copies of all parameters, in the order of `parameters`."""
        return self.network.get_weights()

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Set all parameters, and their moving average if the optimizer keeps one.

        Parameters
        ----------
        weights : sequence of array_like
            As `get_weights` returns them.

        Raises
        ------
        ValueError
            The number, a shape or the content does not fit; nothing has changed.
        """
        self.network.set_weights(weights)

    # --- training -------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: object = "rmsprop",
        loss: object = None,
        metrics: object = None,
        *,
        loss_weights: object = None,
        weighted_metrics: object = None,
    ) -> None:
        """Set how to train. The optimizer's state is reset.

        Parameters
        ----------
        optimizer : str or Optimizer, default "rmsprop"
        loss : str or Loss
            A name, one of `fastnn.losses`, or one of your own (`fastnn.losses.Custom`). A model
            with several outputs takes one for all of them, or a list or dict with one for each.
        metrics : str, Metric or function, or iterable of them, optional
            A model with several outputs takes one list for all of them, or a list or dict of
            such lists. These count all rows alike.
        loss_weights : list or dict of float, optional
            The weight of each output's loss in the sum that is minimized; default 1.
        weighted_metrics : as `metrics`, optional
            Metrics that count each row with its weight (`sample_weight`, `class_weight`): a mean
            is the sum of weight times value, divided by the sum of the weights. The key of one
            that is among `metrics`, too, begins with "weighted_".

        Raises
        ------
        ValueError, TypeError
            A name is unknown; the nearest one is suggested.

        Examples
        --------
        >>> import fastnn as fnn
        >>> model = fnn.Sequential([fnn.Dense(1)], input_shape=(3,))
        >>> model.compile(optimizer=fnn.Adam(1e-3), loss="mse", metrics=["mae"])
        """
        network = self.network
        if network.is_fitting:
            raise RuntimeError("compile cannot be called while fit runs (from a callback)")
        names = network.output_names if network.built else ["output"]
        network.configure(
            objective_of(optimizer, loss, metrics, loss_weights, names, weighted_metrics)
        )

    @property
    def optimizer(self) -> Optimizer | None:
        """The optimizer given to `compile`; its learning_rate may be set at any time."""
        objective = self.network.objective
        return None if objective is None else objective.optimizer

    @property
    def history(self) -> History | None:
        """What the last `fit` returned, or had reached when it was interrupted."""
        return self.network.history

    @property
    def stop_training(self) -> bool:
        """Set it in a callback to end `fit`."""
        return self.network.stop_training

    @stop_training.setter
    def stop_training(self, stop: bool) -> None:
        self.network.stop_training = bool(stop)

    @property
    def stop_reason(self) -> str:
        """What `History.stop_reason` will say; may be set along with `stop_training`."""
        return self.network.stop_reason

    @stop_reason.setter
    def stop_reason(self, reason: str) -> None:
        self.network.stop_reason = str(reason)

    def fit(
        self,
        x: object,
        y: object = None,
        *,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int = 1,
        callbacks: Iterable[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: tuple[object, ...] | None = None,
        shuffle: bool = True,
        sample_weight: object = None,
        class_weight: Mapping[Any, float] | None = None,
        time_budget: float | None = None,
        steps_per_epoch: int | None = None,
    ) -> History:
        """Train for a number of epochs.

        Parameters
        ----------
        x : array_like or sparse matrix, shape (rows, *input_shape)
            Of any real dtype; a list of arrays for a model with several inputs. x and y may be
            pandas or Polars frames with numeric columns, whose names are remembered: from then on
            the columns of a frame are taken by name, in whatever order, and a missing or unknown
            name is an error (see `feature_names`). A model with several inputs also takes a dict
            by their names. A matrix or array of `scipy.sparse` is
            not made dense where a `Dense` layer reads it. A `np.memmap` of 256 MB or more is read
            in windows of 64 MB, two of which are in memory at a time; its numbers are checked as
            they are read, and an error names the row. x may also be an iterable of batches (x, y):
            a generator, a list, an object with ``__iter__``. A thread reads a few batches ahead
            and copies them; each is checked before its step.
        y : array_like, optional
            Shape (rows, *output_shape), or (rows,) for a single output unit; class labels of shape
            (rows,) for ``"crossentropy"``, which, like the two classes of
            ``"binary_crossentropy"``, may also be strings or categories (see `classes`). A model
            with several outputs takes a list, or a dict keyed by name. None if x yields batches.
        batch_size : int, optional
            Default 32, or all rows for an optimizer that needs them in each step
            (`GradientDescent`, `LBFGS`) and accepts no other size. The last batch of an epoch
            holds the remaining rows.
        epochs : int, default 1
        verbose : {0, 1, 2}, default 1
            0: silent; 1: a progress bar (plain lines without a terminal); 2: one line per epoch.
        callbacks : iterable of Callback, optional
        validation_split : float, default 0
            Fraction of the rows, taken from the end, that is held out for validation.
        validation_data : tuple (x, y) or (x, y, sample_weight), or iterable of batches, optional
            Arrays are checked once, when `fit` begins.
        shuffle : bool, default True
            Whether each epoch takes the rows in a new order; an iterable's batches keep theirs.
            For a large `np.memmap`, blocks of two megabytes are shuffled, and then the rows of
            the blocks that share a window.
        sample_weight : array_like, shape (rows,), optional
            The factor of each row's loss. As in Keras, the loss of a batch is still the sum over
            its rows divided by their number. A negative one makes the row's loss grow, as
            REINFORCE needs where a return is below its baseline. A row of weight 0 has no effect,
            and its target may be anything: NaN, or a label such as -100. Metrics are not weighted
            (see `compile` for those that are). For several outputs, one array for all, or a list
            or dict with one for each. Batches carry their own: (x, y, sample_weight).
        class_weight : dict of int or label to float, optional
            The factor for each class; 1 for a class that is left out. If both are given, they
            are multiplied.
        time_budget : float, optional
            Seconds after which training ends, within an epoch if need be, at most one batch too
            late. Validation and callbacks at the end of the last epoch are assumed to take as
            long as in the epoch before; in the first epoch their time comes on top.
        steps_per_epoch : int, optional
            How many batches of an iterable make an epoch; None: all. An iterable that can be
            iterated over again (a list, not a generator) is restarted for each epoch. If it ends
            early, training ends with that epoch, and `History.stop_reason` says so.

        Returns
        -------
        History
            Its `stop_reason` says why training ended.

        Raises
        ------
        ValueError, TypeError
            An argument does not fit; nothing has changed.
        NonFiniteLossError
            The loss became NaN or infinite. The message names the step and the layer; the
            parameters are the last ones known to be finite, at worst those from the start of the
            epoch, or, with `EarlyStopping`, those of the best epoch.
        KeyboardInterrupt
            Ctrl-C was pressed; the model is at the end of a step, and `history` holds the
            results so far.

        Examples
        --------
        >>> import fastnn as fnn
        >>> x, y = fnn.datasets.load_digits()
        >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
        >>> model.compile("adam", "crossentropy", metrics=["accuracy"])
        >>> history = model.fit(x / 16, y, epochs=20, verbose=0)
        >>> history.history["accuracy"][-1] > 0.9
        True
        """
        settings = loop.FitSettings(
            batch_size, epochs, verbose, callbacks, shuffle, time_budget, steps_per_epoch
        )
        return loop.fit(
            self.network,
            self,
            x,
            y,
            sample_weight,
            class_weight,
            settings,
            validation_split=validation_split,
            validation_data=validation_data,
        )

    def train_on_batch(
        self,
        x: object,
        y: object,
        sample_weight: object = None,
        class_weight: Mapping[Any, float] | None = None,
    ) -> float:
        """Take one step on one batch and return its loss before the step.

        Parameters
        ----------
        x, y, sample_weight, class_weight
            As in `fit`.

        Returns
        -------
        float

        Raises
        ------
        NonFiniteLossError
            The loss is not finite; the step is not taken.

        Examples
        --------
        >>> import fastnn as fnn, numpy as np
        >>> model = fnn.Sequential([fnn.Dense(1, kernel_initializer="zeros")], input_shape=(2,))
        >>> model.compile("sgd", "mse")
        >>> model.train_on_batch(np.ones((4, 2)), np.ones(4))
        1.0
        """
        samples = self.network.checked_samples(x, y, sample_weight, class_weight, learns=True)
        return steps.train_on_samples(self.network, samples)

    def learn_one(self, x: object, y: object, sample_weight: object = None) -> float:
        """Take one step on one sample, within microseconds; return its loss before the step.

        The result is that of `train_on_batch` with a batch of one, bit for bit, and for a small
        network many times faster: meant for learning from a stream of samples.

        Parameters
        ----------
        x : array_like, shape (*input_shape)
            One sample, without a batch axis; a list of arrays for a model with several inputs, or
            a dict by their names. For a single input also a dict of feature name to number, or a
            row of a pandas frame: its names are remembered, and matched by name from then on.
            A contiguous float32 or float64 array is fastest.
        y : array_like, shape (*output_shape)
            Its target; a number for a single output unit; a class label for ``"crossentropy"``.
        sample_weight : float, optional
            The factor of the sample's loss; may be negative. A list or dict for several outputs.

        Returns
        -------
        float

        Raises
        ------
        ValueError, TypeError
            An argument does not fit; nothing has changed.
        NonFiniteLossError
            The loss is not finite; the step is not taken.

        Examples
        --------
        >>> import fastnn as fnn, numpy as np
        >>> model = fnn.Sequential([fnn.Dense(1, kernel_initializer="zeros")], input_shape=(2,))
        >>> model.compile("sgd", "mse")
        >>> model.learn_one(np.ones(2), 1.0)
        1.0
        >>> model.learn_one(np.ones(2), 1.0) < 1
        True
        """
        return single_sample.learn_one(self.network, x, y, sample_weight)

    def find_learning_rate(
        self,
        x: object,
        y: object,
        *,
        batch_size: int | None = None,
        min_rate: float = 1e-6,
        max_rate: float = 10.0,
        steps: int = 300,
    ) -> LearningRateFinder:
        """Train a copy at rising learning rates; find the one where the loss falls most steeply.

        This is Smith's range test (2017): a copy of the model in its current state is trained
        with the same optimizer, each step at a larger rate than the one before. The model, its
        optimizer and its random generator are not changed.

        Parameters
        ----------
        x, y
            As in `fit`.
        batch_size : int, optional
            Use the one that you will train with; default as in `fit`.
        min_rate, max_rate : float, default 1e-6 and 10
            The first and the last rate; the rate grows by the same factor from step to step.
        steps : int, default 300
            At least 10. The test ends early if the smoothed loss exceeds four times its minimum,
            or if the loss is not finite.

        Returns
        -------
        fastnn.analysis.lr_finder.LearningRateFinder
            With `rates`, `losses`, `smoothed` and `suggestion`; its `plot` draws them.

        Raises
        ------
        ValueError, TypeError
            An argument does not fit.

        Notes
        -----
        A line is fitted to the smoothed losses over the logarithm of the rate in each window of a
        tenth of the steps, up to the minimum of the smoothed loss. The suggestion is the rate in
        the middle of the window with the steepest descent. It is a starting point: with a
        decaying schedule, a few times as much may be better; for long training at a constant
        rate, less.

        Examples
        --------
        >>> import fastnn as fnn
        >>> x, y = fnn.datasets.load_digits()
        >>> model = fnn.Sequential([fnn.Dense(32, "relu"), fnn.Dense(10)], input_shape=(64,),
        ...                        seed=0)
        >>> model.compile("adam", "crossentropy")
        >>> found = model.find_learning_rate(x / 16, y)
        >>> 1e-3 < found.suggestion < 0.1
        True
        >>> model.optimizer.learning_rate = found.suggestion
        """
        from fastnn.analysis import lr_finder

        return lr_finder.find_learning_rate(
            self.network,
            x,
            y,
            batch_size=batch_size,
            min_rate=min_rate,
            max_rate=max_rate,
            steps=steps,
        )

    def diagnose(self, x: object, y: object, *, batch_size: int = 32) -> Diagnosis:
        """Find out why the model does not learn, if it does not. The model is not changed.

        This looks at the data, at the layers' outputs and at the gradients for up to 512 rows;
        trains copies for 100 steps, at the optimizer's learning rate and, if the loss does not
        fall, at others; and reads `history`.

        Parameters
        ----------
        x, y
            As in `fit`.
        batch_size : int, default 32
            For the trials; use the one that you will train with.

        Returns
        -------
        fastnn.analysis.diagnosis.Diagnosis
            Each of its `findings` has the layer, the figure that shows it, and what to try.

        Raises
        ------
        ValueError, TypeError
            An argument does not fit.

        Notes
        -----
        It reports: inputs and targets that are not scaled; targets that are all the same, or that
        the last layer cannot output; an activation between the logits and a loss of logits; relu
        units that are 0 for all rows (half of a layer's); saturated sigmoid and tanh (70 % of a
        layer's outputs); units with the same weights; kernels whose gradient vanishes (0.2 % of
        the largest, norms relative to the square root of the number of inputs) or explodes (100);
        a learning rate at which the loss falls by less than 3 % while another achieves a quarter
        of what predicting a constant does; batches of one row in front of BatchNormalization; and,
        if one of these is found, a plateau in the history, too. A target that has nothing to do
        with x cannot be learned and is not reported.

        Examples
        --------
        >>> import fastnn as fnn
        >>> x, y = fnn.datasets.load_digits()
        >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
        >>> model.compile(fnn.Adam(1e-7), "crossentropy")
        >>> [finding.problem for finding in model.diagnose(x / 16, y).findings]
        ['learning rate too low']
        >>> model.optimizer.learning_rate = 1e-3
        >>> model.diagnose(x / 16, y)
        nothing found that would keep the model from learning (512 rows)
        """
        from fastnn.analysis import diagnosis

        batch_size = checks.integer("batch_size", batch_size)
        samples = self.network.checked_samples(x, y)
        return diagnosis.diagnose(
            self.network, samples.sources, samples.target_types, batch_size=batch_size
        )

    # --- custom training loops ------------------------------------------------------------------

    def forward(self, x: object, *, training: bool = False) -> np.ndarray | list[np.ndarray]:
        """Return the outputs for x; with `training`, keep what `backward` needs.

        Parameters
        ----------
        x : array_like, shape (rows, *input_shape)
        training : bool, default False
            Whether dropout is active and `backward` may follow.

        Returns
        -------
        ndarray, shape (rows, *output_shape), or a list of them for several outputs
        """
        if not training:
            return self.predict(x)
        samples = self.network.checked_inputs(x)
        return one_or_list(self._manual.forward(samples))

    def backward(self, grad_output: object) -> dict[str, np.ndarray]:
        """Compute the gradients of all parameters from that of the output.

        Parameters
        ----------
        grad_output : array_like, shape (rows, *output_shape)
            Derivative of your loss with respect to what ``forward(x, training=True)`` returned; a
            list if that is a list. The gradients of the regularizers' penalties are added.

        Returns
        -------
        dict of str to ndarray
            `gradients`; they are overwritten, not accumulated.

        Raises
        ------
        RuntimeError
            ``forward(x, training=True)`` has not been called since the parameters were last
            changed by a step or by `set_weights`.

        Notes
        -----
        Writing into a view of `parameters` goes unnoticed: call `forward` again afterwards, or the
        gradients mix the outputs of the old parameters with the new ones.
        """
        self._manual.backward(grad_output)
        return self.gradients

    def apply_gradients(self) -> None:
        """Take one optimizer step with what is in `gradients`.

        Raises
        ------
        RuntimeError
            There are no gradients yet.

        Examples
        --------
        >>> import fastnn as fnn, numpy as np
        >>> model = fnn.Sequential([fnn.Dense(1, kernel_initializer="zeros")], input_shape=(2,))
        >>> model.compile(fnn.SGD(0.5), "mse")
        >>> y_hat = model.forward(np.ones((1, 2)), training=True)
        >>> gradients = model.backward(y_hat - 1)
        >>> model.apply_gradients()
        >>> float(model.predict(np.ones((1, 2)))[0, 0])
        1.5
        """
        self._manual.apply_gradients()

    # --- prediction and evaluation --------------------------------------------------------------

    def predict(
        self, x: object, *, batch_size: int = ROWS, **unknown: Never
    ) -> np.ndarray | list[np.ndarray]:
        """Return the outputs for x.

        Parameters
        ----------
        x : array_like or sparse matrix, shape (rows, *input_shape)
            Or an iterable of such batches that is not a list or tuple; if it yields tuples
            (x, ...), their first entries are used.
        batch_size : int, default 512
            Rows computed at a time; does not change the result.

        Returns
        -------
        ndarray, shape (rows, *output_shape)
            Of the model's dtype; a list of arrays for several outputs.

        Examples
        --------
        >>> import fastnn as fnn, numpy as np
        >>> model = fnn.Sequential([fnn.Dense(2)], input_shape=(3,))
        >>> model.predict(np.zeros((4, 3))).shape
        (4, 2)
        """
        for name in unknown:
            raise hints.unexpected_argument("Model.predict", name, ("x", "batch_size"))
        # Few rows of a small network take two microseconds, so that each call here would show.
        if batch_size is not ROWS:
            batch_size = checks.integer("batch_size", batch_size)
        output = self.network.runtime.fast_path.try_predict_few(x)
        if output is not None:
            return output
        return one_or_list(evaluation.predict_rows(self.network, x, batch_size))

    def predict_one(self, x: object) -> np.ndarray | list[np.ndarray]:
        """Return the output for one sample, within microseconds.

        The result is that of `predict` for a batch of one, bit for bit, and for a small network
        many times faster.

        Parameters
        ----------
        x : array_like, shape (*input_shape)
            One sample, as for `learn_one`. A contiguous float32 or float64 array is fastest.

        Returns
        -------
        ndarray, shape (*output_shape)
            Of the model's dtype, newly allocated; a list of arrays for several outputs.

        Raises
        ------
        ValueError, TypeError
            x does not fit.

        Examples
        --------
        >>> import fastnn as fnn, numpy as np
        >>> model = fnn.Sequential([fnn.Dense(2)], input_shape=(3,))
        >>> model.predict_one(np.zeros(3)).shape
        (2,)
        """
        return one_or_list(single_sample.predict_one(self.network, x))

    def predict_classes(
        self, x: object, *, batch_size: int = ROWS
    ) -> np.ndarray | list[np.ndarray]:
        """Return the class of each row: the decision that ``"accuracy"`` counts.

        Parameters
        ----------
        x
            As for `predict`.
        batch_size : int, default 512
            Rows computed at a time.

        Returns
        -------
        ndarray, shape (rows,)
            With ``"crossentropy"`` that of the largest output; for a single output 0 or 1 (-1 or 1
            with ``"hinge"``). Where the model was trained on other labels, those (see `classes`);
            otherwise int64. Several outputs that are decisions of their own have shape
            (rows, outputs), and a model with several outputs returns a list.

        Raises
        ------
        RuntimeError
            The model has not been compiled: the loss says what its outputs are.

        Examples
        --------
        >>> import fastnn as fnn, numpy as np
        >>> x = np.array([[0.0], [1.0], [2.0], [3.0]])
        >>> model = fnn.Sequential([fnn.Dense(2)], input_shape=(1,), seed=0)
        >>> model.compile(fnn.Adam(0.1), "crossentropy", "accuracy")
        >>> history = model.fit(x, ["few", "few", "many", "many"], epochs=200, verbose=0)
        >>> model.classes
        ['few', 'many']
        >>> model.predict_classes([[0.5], [2.5]])
        array(['few', 'many'], dtype='<U4')
        """
        self.network.require_objective()
        outputs = evaluation.predict_rows(self.network, x, checks.integer("batch_size", batch_size))
        return one_or_list(decisions.classes_of(self.network, outputs))

    @property
    def classes(self) -> Any:
        """The labels that the classes stand for, in the order of the outputs; None for numbers.

        `fit` finds them where y holds strings or categories: in the order of the categories,
        otherwise sorted. They may be set, as they must be before training on batches that do not
        hold all of them. They are saved, and `predict_classes` gives them back. A list with one
        entry for each output where there are several.
        """
        found = self.network.classes()
        return found[0] if len(found) == 1 else found

    @classes.setter
    def classes(self, labels: Any) -> None:
        is_one = len(self.network.output_names) == 1
        self.network.set_classes([labels] if is_one or labels is None else labels)

    @property
    def feature_names(self) -> Any:
        """The names of the columns of x, if it was a frame when the model was trained; or None.

        The columns of a frame are taken by these names from then on. They are saved, and may be
        set; None forgets them. A list with one entry for each input where there are several.
        """
        found = self.network.feature_names()
        return found[0] if len(found) == 1 else found

    @feature_names.setter
    def feature_names(self, names: Any) -> None:
        is_one = len(self.network.input_shapes) == 1
        self.network.set_feature_names([names] if is_one or names is None else names)

    def __call__(self, x: object) -> np.ndarray | list[np.ndarray]:
        """Return what `predict` returns."""
        return self.predict(x)

    def evaluate(
        self,
        x: object,
        y: object = None,
        sample_weight: object = None,
        *,
        batch_size: int = ROWS,
    ) -> dict[str, Any]:
        """Return loss and metrics of all samples.

        Parameters
        ----------
        x, y, sample_weight
            As in `fit`.
        batch_size : int, default 512
            Rows computed at a time.

        Returns
        -------
        dict of str to float
            "loss", for several outputs the loss of each ("dense_loss"), then the metrics. The
            value of a metric that is not a single number stays as it is.
        """
        return evaluation.evaluate_rows(self.network, x, y, sample_weight, batch_size)

    # --- inspection -----------------------------------------------------------------------------

    def summary(self) -> None:
        """Print the layers with their output shapes and numbers of parameters."""
        print(layer_graph.summary(self.network.graph, self.dtype))

    def explain(self, program: str | None = None, *, batch_size: int = 32) -> None:
        """Print a program: its ops with shapes and memory locations, and what was fused.

        Parameters
        ----------
        program : {"train", "gradients", "evaluate", "predict", "manual", "update",
                "activations"}, optional
            Default: "train" for a compiled model ("gradients" with `LBFGS`), else "predict".
        batch_size : int, default 32
            Rows to plan for.
        """
        from fastnn.analysis.explanation import explanation

        print(explanation(self.network, program, checks.integer("batch_size", batch_size)))

    def profile(
        self,
        x: object,
        y: object = None,
        *,
        steps: int = 200,
        batch_size: int | None = None,
    ) -> Profile:
        """Time each op of a step, print a table, and return it. The model is not changed.

        Parameters
        ----------
        x, y : array_like
            As in `fit`; without y, prediction is timed, as in `predict`.
        steps : int, default 200
            How many to run; each reported time is the median over them.
        batch_size : int, optional
            Rows of a step; default 32, or 512 without y.

        Returns
        -------
        fastnn.analysis.profiling.Profile
            Its `rows` hold the numbers, and its `plot` draws them.

        Raises
        ------
        ValueError, TypeError
            An argument does not fit.
        NonFiniteLossError
            The loss is not finite.

        Notes
        -----
        Times are those of the first worker, barriers included; each contains about 25 ns for
        reading the clock. "limit" compares with what ``fastnn bench --limits`` finds on this
        machine, and that is measured first if it is not known: the multiply-adds of an op at peak
        speed, or its bytes at the bandwidth of the memory they come from, whichever takes longer.
        The multiply-adds of functions (exp, tanh, an update) are estimates. The learning rate is
        0 meanwhile.

        Examples
        --------
        >>> import fastnn as fnn
        >>> x, y = fnn.datasets.load_digits()
        >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
        >>> model.compile("adam", "crossentropy")
        >>> profile = model.profile(x, y)  # doctest: +ELLIPSIS
        train, float32, 32 rows a step, 1 worker, ISA ...: median of 200 steps
        layer  op                           µs  share   GFLOP/s     GB/s  limit
        ...
        >>> max(profile.rows, key=lambda row: row.microseconds).share > 0.1
        True
        """
        from fastnn.analysis import profiling

        made = profiling.profile(self.network, x, y, steps=steps, batch_size=batch_size)
        print(made)
        return made

    # --- files ----------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike) -> None:
        """Save architecture, parameters, and the state of training to a safetensors file.

        It is written to a temporary file in the same directory first, so that a crash leaves an
        existing file intact.

        Parameters
        ----------
        path : path-like
        """
        from fastnn.exchange import model_file

        model_file.save(self.network, path)


@hints.explains_arguments()
class Sequential(Model):
    """A network of layers, one after the other.

    Parameters
    ----------
    layers : iterable of Layer
        An `Input` may come first, instead of `input_shape`.
    input_shape : tuple of int, optional
        Shape of one sample; None: taken from the first data seen.
    dtype : {"float32", "float64"}, default "float32"
    seed : int, optional
        As in `Model`.

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.Sequential([fnn.Dense(128, activation="relu"), fnn.Dense(10)],
    ...                        input_shape=(64,), dtype="float32", seed=0)
    >>> model.count_parameters()
    9610
    """

    def __init__(
        self,
        layers: Iterable[Layer] = (),
        *,
        input_shape: Shape | None = None,
        dtype: str = "float32",
        seed: int | None = None,
    ) -> None:
        chain, shape = layer_graph.checked_chain(layers, input_shape)
        self._hold(Network(*checked_options(dtype, seed), chain))
        if shape is not None:
            self.network.build_chain(shape)


def load(
    path: str | os.PathLike,
    *,
    custom_objects: Mapping[str, object] | None = None,
) -> Model:
    """Load a model that `Model.save` wrote, ready to predict or to continue training.

    Parameters
    ----------
    path : path-like
    custom_objects : dict of str to object, optional
        What you have written yourself, keyed by name: classes of layers that are not registered
        (see `Layer`), of optimizers, losses, metrics, schedules, initializers and regularizers;
        losses (`losses.Custom`); functions that are metrics.

    Warns
    -----
    UserWarning
        A metric function is not known and is left out, or an object of a class that is not known
        is replaced by one of the class that it is derived from.

    Returns
    -------
    Model

    Raises
    ------
    FileNotFoundError
        There is no such file.
    TypeError
        `custom_objects` holds something else.
    ValueError
        The file was not written by fastnn, is damaged, or holds a layer or loss that is not
        known.

    Examples
    --------
    >>> import fastnn as fnn, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "m.safetensors")
    >>> fnn.Sequential([fnn.Dense(2)], input_shape=(3,)).save(path)
    >>> fnn.load(path).output_shape
    (2,)
    """
    from fastnn.exchange import model_file

    return Model.of(model_file.load(path, custom_objects))


@dataclass(frozen=True)
class _LayerNumber:
    """Stands for a layer of a model that is copied."""

    number: int


def _by_number(value: Any, layers: Mapping[int, int]) -> Any:
    """Return a value in which layers of the model are replaced by their numbers."""
    if isinstance(value, Layer) and id(value) in layers:
        return _LayerNumber(layers[id(value)])
    if type(value) in (list, tuple):
        return type(value)(_by_number(one, layers) for one in value)
    if type(value) is dict:
        return {key: _by_number(one, layers) for key, one in value.items()}
    return value


def _with_layers(value: Any, layers: Sequence[Layer]) -> Any:
    """Return a value from `_by_number` with layers again."""
    if isinstance(value, _LayerNumber):
        return layers[value.number]
    if type(value) in (list, tuple):
        return type(value)(_with_layers(one, layers) for one in value)
    if type(value) is dict:
        return {key: _with_layers(one, layers) for key, one in value.items()}
    return value


def _from_copied(cls: type[Model], made: Any, own: dict[str, Any]) -> Model:
    """Return the model that `Model.__reduce__` has described, for copies and pickles."""
    from fastnn.exchange import model_file

    model = cls.__new__(cls)
    model._hold(model_file.from_copied(made))
    vars(model).update({name: _with_layers(one, model.layers) for name, one in own.items()})
    return model


_SETTABLE = ("stop_training", "stop_reason", "classes", "feature_names")


def _public_names(cls: type) -> list[str]:
    """Return what a missing attribute may have been meant to be."""
    return [name for name in dir(cls) if not name.startswith("_")]


def _is_meant_otherwise(name: str) -> bool:
    """Whether an attribute of a user's class looks like a typo or another library's name."""
    is_slip = hints.nearest(name, (*_SETTABLE, "trainable"), cutoff=0.87) is not None
    return is_slip or name in ("lr", "learning_rate")


def one_or_list(outputs: list[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    """Return the output, or a list if there are several."""
    return outputs[0] if len(outputs) == 1 else outputs


__all__ = ["Model", "Sequential", "load"]
