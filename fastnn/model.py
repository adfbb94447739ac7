"""`Model` and `Sequential`: build, weights, compile, fit, evaluate, predict, save."""

from __future__ import annotations

import contextlib
import copyreg
import math
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import data, losses, optimizers
from fastnn.callbacks import Callback
from fastnn.core import checks
from fastnn.data import AnySource, Sparse, adapter
from fastnn.layers import Layer, Shape, Tensor, graph
from fastnn.layers.embedding import check_categories
from fastnn.program.plan import describe
from fastnn.runtime import ROWS, Bound, Objective, Purpose, Runtime, Steps
from fastnn.runtime.arenas import memory_for_parameters
from fastnn.training import loop, nonfinite, objective, single_sample
from fastnn.training import sample_weight as weights
from fastnn.training.accumulator import Accumulator
from fastnn.training.loop import History

if TYPE_CHECKING:
    from fastnn.analysis.diagnosis import Diagnosis
    from fastnn.analysis.lr_finder import LearningRateFinder
    from fastnn.analysis.profiling import Profile

DTYPES = ("float32", "float64")


class Model:
    """A network of layers as a graph from inputs to outputs.

    Parameters
    ----------
    inputs : Tensor or list of Tensor
        From `Input`.
    outputs : Tensor or list of Tensor
        What layers gave for them. Of several, each has the name of its layer; `predict` returns
        a list, targets and losses are lists or dicts by these names.
    dtype : {"float32", "float64"}, default "float32"
        Of parameters and arithmetic; data may have any.
    seed : int, optional
        Gives initial weights, shuffling and dropout; None: another one each time. NumPy's
        global generator is never touched.

    Attributes
    ----------
    layers : list of Layer
    parameters, gradients : dict of str to ndarray
        Views, by "layer/parameter": "dense/kernel" of shape (inputs, units). Gradients are those of
        `backward`; training applies them as they are made and may not keep them.
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
        self._start(dtype, seed)
        tensors = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        for tensor in tensors:
            if not isinstance(tensor, Tensor) or tensor.layer is not None:
                raise TypeError(f"inputs must come from Input(...), got {tensor!r}")
        ends = [outputs] if isinstance(outputs, Tensor) else outputs
        if not isinstance(ends, (list, tuple)) or not ends:
            raise TypeError(f"outputs must be what a layer returned, or a list, got {outputs!r}")
        for tensor in ends:
            if not isinstance(tensor, Tensor):
                raise TypeError(f"outputs must be what a layer returned, got {tensor!r}")
        self._build(tensors, ends)

    def _start(self, dtype: str, seed: int | None) -> None:
        try:
            name = "" if dtype is None else np.dtype(dtype).name
        except TypeError:
            name = ""
        if name not in DTYPES:
            raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
        if seed is not None and (
            isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0
        ):
            raise ValueError(f"seed must be an integer of at least 0 or None, got {seed!r}")
        self._dtype = name
        self.seed = seed = None if seed is None else int(seed)
        sequence = np.random.SeedSequence(seed)
        self._weight_seed, shuffle_seed, dropout_seed = sequence.spawn(3)
        self.generator = np.random.default_rng(shuffle_seed)
        self._key = int(dropout_seed.generate_state(1, np.uint64)[0])
        self._runtime: Runtime | None = None
        self._training: Objective | None = None
        self._manual: tuple[Bound, list[AnySource], int] | None = None
        self._forwards = (-1, 0)  # after which update, and how many since
        self._has_gradients = False  # zeros, after `backward`, are gradients too
        self.history: History | None = None
        self.stop_training = False
        self.is_fitting = False
        self.stop_reason = ""
        self._layers: list[Layer] = []

    def __reduce__(self) -> tuple:
        """Copy and pickle a model as it is saved: its arrays are views into one another."""
        from fastnn.exchange import model_file

        if not self.built:
            return copyreg.__newobj__, (type(self),), self.__dict__  # type: ignore[attr-defined]
        aims = () if self._training is None else self._training.outputs
        own = {aim.loss.name: aim.loss for aim in aims if isinstance(aim.loss, losses.Custom)}
        return model_file.from_bytes, (model_file.to_bytes(self), own)

    # --- building -----------------------------------------------------------------------------

    def _build(self, inputs: list[Tensor], outputs: Sequence[Tensor]) -> None:
        """Name the layers, make and fill the parameters."""
        self._layers, made, initializers = graph.build(inputs, outputs)
        shapes = {name: value.shape for name, value in made.parameters.items()}
        with memory_for_parameters(made, self.dtype):
            runtime = Runtime(made, self.dtype, shapes, self._key)
            for i, (name, view) in enumerate(runtime.parameters.items()):
                # Not spawn(), which counts: a model that is built again gets the same weights.
                key = (*self._weight_seed.spawn_key, i)
                seed = np.random.SeedSequence(self._weight_seed.entropy, spawn_key=key)
                view[...] = initializers[name].sample(view.shape, np.random.default_rng(seed))
            if self._training is not None:
                runtime.configure(self._training)
        self._runtime = runtime
        for layer in self.layers:
            prefix = layer.name + "/"
            views = {
                name.removeprefix(prefix): view
                for name, view in runtime.parameters.items()
                if name.startswith(prefix)
            }
            layer.take(weakref.ref(runtime), views)

    @property
    def dtype(self) -> str:
        """Of parameters and outputs: "float32" or "float64". Programs are compiled with it."""
        return self._dtype

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, each once where the model is built; another list makes another model."""
        return tuple(self._layers)

    @property
    def built(self) -> bool:
        """Whether the shapes, and so the parameters, are known."""
        return self._runtime is not None

    @property
    def runtime(self) -> Runtime:
        """Arenas and programs; raises RuntimeError if the model is not built."""
        if self._runtime is None:
            raise RuntimeError(
                "the model has no parameters yet: give Sequential an input_shape, or fit it first"
            )
        return self._runtime

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """Views of the parameters, by "layer/parameter"."""
        return dict(self.runtime.parameters)

    @property
    def gradients(self) -> dict[str, np.ndarray]:
        """Views of the gradients, by "layer/parameter"."""
        return dict(self.runtime.gradients)

    @property
    def input_shapes(self) -> list[tuple[str, Shape]]:
        """Name and shape of one sample of each input."""
        return list(self.runtime.graph.inputs)

    @property
    def output_shape(self) -> Shape | list[Shape]:
        """Shape of one sample of the output; a list where there are several."""
        shapes = self.runtime.output_shapes
        return shapes[0] if len(shapes) == 1 else list(shapes)

    @property
    def output_names(self) -> list[str]:
        """Name of each output: that of the layer it comes from."""
        return list(self.runtime.graph.output_names)

    def count_parameters(self) -> int:
        """Return the number of parameters."""
        return sum(view.size for view in self.runtime.parameters.values())

    def get_weights(self) -> list[np.ndarray]:
        """Return copies of all parameters, in the order of `parameters`."""
        return [view.copy() for view in self.runtime.parameters.values()]

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Set all parameters, and their moving average if the optimizer keeps one.

        Parameters
        ----------
        weights : sequence of array_like
            As `get_weights` returns them.

        Raises
        ------
        ValueError
            Number, shape or content does not fit; nothing is changed then.
        """
        views = self.runtime.parameters
        if len(weights) != len(views):
            raise ValueError(f"weights must be {len(views)} arrays, got {len(weights)}")
        arrays = []
        for (name, view), weight in zip(views.items(), weights, strict=True):
            array = data.checked_array(f"weights of {name!r}", weight)
            if array.shape != view.shape:
                raise ValueError(
                    f"weights of {name!r} must have shape {view.shape}, got {array.shape}"
                )
            data.check_finite(f"weights of {name!r}", array, self.dtype)
            arrays.append(array)
        self.forget_forward()
        for view, array in zip(views.values(), arrays, strict=True):
            view[...] = array
        self.runtime.forget_average()

    # --- training -----------------------------------------------------------------------------

    def compile(
        self,
        optimizer: object = "rmsprop",
        loss: object = None,
        metrics: Iterable[object] | None = None,
        *,
        loss_weights: object = None,
    ) -> None:
        """Say how to train. The optimizer's state starts afresh.

        Parameters
        ----------
        optimizer : str or Optimizer, default "rmsprop"
        loss : str or Loss
            A name, one of `fastnn.losses`, or one of your own (`fastnn.losses.Custom`). Of a model
            with several outputs: for all, or a list or dict of one for each.
        metrics : iterable of str or Metric, optional
            Of several outputs: for all, or a list or dict of such lists.
        loss_weights : list or dict of float, optional
            For each output, what its loss counts in the sum that is trained; default 1.

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
        if self.is_fitting:
            raise RuntimeError("compile cannot be called while fit runs (from a callback)")
        if loss is None:
            raise ValueError(f"loss must be given, one of {', '.join(losses.registry)}")
        names = self.output_names if self.built else ["output"]
        chosen = Objective(
            optimizers.get(optimizer),
            objective.output_objectives(loss, metrics, loss_weights, names),
        )
        if self._runtime is not None:
            with memory_for_parameters(self._runtime.graph, self.dtype):
                self._runtime.configure(chosen)
        self._training = chosen

    @property
    def optimizer(self) -> optimizers.Optimizer | None:
        """The optimizer given to `compile`; its learning_rate may be set at any time."""
        return None if self._training is None else self._training.optimizer

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
        class_weight: dict[int, float] | None = None,
        time_budget: float | None = None,
        steps_per_epoch: int | None = None,
    ) -> History:
        """Train for a number of epochs.

        Parameters
        ----------
        x : array_like or sparse matrix, shape (rows, *input_shape)
            Of any real dtype; a list of arrays for a model of several inputs. A frame of pandas
            or Polars with numeric columns, for x and y. A matrix or array
            of `scipy.sparse` is never made dense for layers that are `Dense`. A `np.memmap` of
            256 MB or more is read in windows of 64 MB, two of which are in memory at a time; its
            numbers are checked as they are read, and an error names the row. Or an iterable of
            batches (x, y): a generator, a list, an object with ``__iter__``. A thread reads them
            a few ahead and copies them; each is checked before its step.
        y : array_like, optional
            Shape (rows, *output_shape), or (rows,) for one output; class labels of shape
            (rows,) for ``"crossentropy"``. Of several outputs: a list, or a dict by name. None
            where x yields batches.
        batch_size : int, optional
            Default 32, or all rows where the optimizer takes them in each step
            (`GradientDescent`, `LBFGS`), which no other size suits. The last batch of an epoch
            takes what is left.
        epochs : int, default 1
        verbose : {0, 1, 2}, default 1
            Silent; a progress bar (plain lines where there is no terminal); a line an epoch.
        callbacks : iterable of Callback, optional
        validation_split : float, default 0
            Share of the rows, taken from the end, to validate with instead of training.
        validation_data : tuple (x, y) or (x, y, sample_weight), or iterable of batches, optional
        shuffle : bool, default True
            Whether each epoch takes the rows in an order of its own; batches come as they come.
            Of a large `np.memmap`, blocks of two megabytes are shuffled, and the rows among
            those that fall into one window.
        sample_weight : array_like, shape (rows,), optional
            What the loss of each row is multiplied with, at least 0. As in Keras, the loss of a
            batch is still the sum over its rows divided by their number. Metrics count all alike.
            Batches bring their own: (x, y, sample_weight).
        class_weight : dict of int to float, optional
            The same by class; classes that are left out count 1. Both together multiply.
        time_budget : float, optional
            Seconds after which training ends, within an epoch if need be, at most one batch too
            late. Validation and callbacks at the end of the last epoch are counted as long as
            they took in the epoch before; in the first epoch they come on top.
        steps_per_epoch : int, optional
            How many batches of an iterable make an epoch; None: all. What can be iterated over
            again (a list, not a generator) is started again for each epoch. If it ends early,
            training ends with that epoch, and `History.stop_reason` says so.

        Returns
        -------
        History
            Its `stop_reason` says why training ended.

        Raises
        ------
        ValueError, TypeError
            An argument does not fit; nothing has changed then.
        NonFiniteLossError
            The loss became NaN or infinite. The message names step and layer; the parameters
            are the last ones known to be finite, at worst those from the start of the epoch; or,
            with `EarlyStopping`, those of the best epoch.
        KeyboardInterrupt
            Ctrl-C; the model is at the end of a step, `history` holds what was reached.

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
        return loop.fit(
            self,
            x,
            y,
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=callbacks,
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle,
            sample_weight=sample_weight,
            class_weight=class_weight,
            time_budget=time_budget,
            steps_per_epoch=steps_per_epoch,
        )

    def _compiled(self) -> Objective:
        if self._training is None:
            raise RuntimeError("call compile(optimizer, loss) first")
        return self._training

    def training_data(
        self,
        x: object,
        y: object,
        sample_weight: object = None,
        class_weight: object = None,
        *,
        in_windows: bool = False,
    ) -> tuple[list[AnySource], tuple[str, ...]]:
        """Check data for training or evaluation; build the model if it was waiting for it.

        Parameters
        ----------
        x, y : object
        in_windows : bool, default False
            Whether the numbers of large maps are checked later, a window at a time.

        Returns
        -------
        sources : list of Source or Sparse
            The inputs, the target of each output, the weights of samples if any.
        target_types : tuple of {"real", "label", "weight"}
            What follows the inputs; see `Runtime.bound`.
        """
        chosen = self._compiled()
        if self.built:
            return self._checked_data(chosen, x, y, sample_weight, class_weight, in_windows)
        with self._built_for(x):
            return self._checked_data(chosen, x, y, sample_weight, class_weight, in_windows)

    def _checked_data(
        self,
        chosen: Objective,
        x: object,
        y: object,
        sample_weight: object,
        class_weight: object,
        in_windows: bool,
    ) -> tuple[list[AnySource], tuple[str, ...]]:
        for aim, shape in zip(chosen.outputs, self.runtime.output_shapes, strict=True):
            if aim.loss.is_distribution and math.prod(shape) == 1:
                raise ValueError(
                    f"loss {aim.loss.name!r} needs two or more outputs, the model has one, of "
                    "which softmax is always 1: use 'binary_crossentropy', or as many outputs as "
                    "there are classes"
                )
        sources = data.inputs(x, self.input_shapes, self.dtype, in_windows=in_windows)
        check_categories(self.runtime.graph, sources, in_windows)
        rows = sources[0].rows
        target_types = []
        for number, (name, part) in enumerate(self.targets_of(y)):
            target, target_type = self.checked_target(number, name, part, rows, in_windows)
            sources.append(target)
            target_types.append(target_type)
        if sample_weight is not None or class_weight is not None:
            targets = sources[-len(target_types) :]
            sources.append(
                weights.source(sample_weight, class_weight, targets, target_types, self.dtype)
            )
            target_types.append("weight")
        return sources, tuple(target_types)

    def targets_of(self, y: object) -> list[tuple[str, object]]:
        """Return the target of each output, with what error messages call it."""
        if len(self.runtime.output_shapes) == 1:
            return [("y", y)]
        named = data.by_name("y", y, self.output_names)
        return [(f"y[{name!r}]", part) for name, part in named.items()]

    def checked_target(
        self, number: int, name: str, target: object, rows: int, in_windows: bool = False
    ) -> tuple[data.Source, str]:
        """Check the target of one output; see `training_data`."""
        return data.target(
            target,
            rows,
            self.runtime.output_shapes[number],
            self.dtype,
            loss=self._compiled().outputs[number].loss,
            name=name,
            in_windows=in_windows,
        )

    def check_validation(self, given: tuple[object, ...]) -> None:
        """Raise if validation data do not fit, before anything has changed."""
        try:
            x, y, sample_weight = (*given, None)[:3]
            first = next(adapter.parts_for_evaluation(self, x, y, sample_weight, ROWS), None)
            data.not_empty(0 if first is None else first.rows)
        except (TypeError, ValueError) as error:
            raise type(error)(f"validation_data: {error}") from None

    def _checked_inputs(self, x: object, *, in_windows: bool = False) -> list[AnySource]:
        """Check x alone."""
        with contextlib.nullcontext() if self.built else self._built_for(x):
            sources = data.inputs(x, self.input_shapes, self.dtype, in_windows=in_windows)
            check_categories(self.runtime.graph, sources, in_windows)
            return sources

    def _built_for(self, x: object) -> contextlib.AbstractContextManager[None]:
        """Build a model that was waiting for the shape of x; undone if x then does not fit."""
        raise NotImplementedError

    def _unbuild(self) -> None:
        """Undo what `_built_for` did."""
        raise NotImplementedError

    def train_on_batch(
        self,
        x: object,
        y: object,
        sample_weight: object = None,
        class_weight: dict[int, float] | None = None,
    ) -> float:
        """Make one step on one batch and return its loss before the step.

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
            The loss is not finite; the step is not made.

        Examples
        --------
        >>> import fastnn as fnn, numpy as np
        >>> model = fnn.Sequential([fnn.Dense(1, kernel_initializer="zeros")], input_shape=(2,))
        >>> model.compile("sgd", "mse")
        >>> model.train_on_batch(np.ones((4, 2)), np.ones(4))
        1.0
        """
        sources, target_types = self.training_data(x, y, sample_weight, class_weight)
        rows = sources[0].rows
        data.not_empty(rows)
        runtime = self.runtime
        steps = Steps(sources, rows, rows)
        bound = runtime.bound(Purpose.TRAIN, rows, target_types, steps.sparse)
        results = np.empty((1, len(bound.plan.program.results)))
        before = runtime.snapshot()
        assert runtime.objective is not None
        rate = runtime.objective.optimizer.rates(runtime.step)
        self.forget_forward()
        done = bound.prepare(steps, results=results, learning_rates=rate).make()
        loss = float(results[0, 0])
        if not done or nonfinite.not_finite(runtime):
            raise nonfinite.refused_step(self, sources, bool(done), loss, before)
        return loss

    def learn_one(self, x: object, y: object) -> float:
        """Make one step on one sample and return its loss before the step, in microseconds.

        The same as `train_on_batch` with a batch of one, bit for bit, and many times quicker
        for a small network: for learning from a stream of samples.

        Parameters
        ----------
        x : array_like, shape (*input_shape)
            One sample, without an axis of rows; a list of them for a model of several inputs.
            Quickest as a float32 or float64 array without gaps.
        y : array_like, shape (*output_shape)
            Its target; a number for one output; a class label for ``"crossentropy"``.

        Returns
        -------
        float

        Raises
        ------
        ValueError, TypeError
            An argument does not fit; nothing has changed then.
        NonFiniteLossError
            The loss is not finite; the step is not made.

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
        loss = single_sample.learn(self, x, y)
        self.forget_forward()
        return loss

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
        """Train a copy at rising learning rates, and say at which the loss falls most steeply.

        Smith's range test (2017): each step of the copy, from where the model stands, with its
        optimizer, has a larger rate than the one before. The model, its optimizer and its random
        generator are not changed.

        Parameters
        ----------
        x, y
            As in `fit`.
        batch_size : int, optional
            Take the one to train with; default as in `fit`.
        min_rate, max_rate : float, default 1e-6 and 10
            The first and the last rate; they rise by the same factor from step to step.
        steps : int, default 300
            At least 10. It ends before if the smoothed loss exceeds four times its least, or the
            loss is not finite.

        Returns
        -------
        fastnn.analysis.lr_finder.LearningRateFinder
            `rates`, `losses`, `smoothed`, `suggestion`; its `plot` draws them.

        Raises
        ------
        ValueError, TypeError
            An argument does not fit.

        Notes
        -----
        The suggestion is the rate in the middle of the window, a tenth of the steps wide, in
        which a line fitted to the smoothed losses over the logarithm of the rate falls most
        steeply, up to the least smoothed loss. It is a rate to start from: a training with a
        schedule that decays may start from some times it, one that is to go on for long at one
        rate from less.

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
            self,
            x,
            y,
            batch_size=batch_size,
            min_rate=min_rate,
            max_rate=max_rate,
            steps=steps,
        )

    def diagnose(self, x: object, y: object, *, batch_size: int = 32) -> Diagnosis:
        """Say why the model does not learn, if it does not. The model is not changed.

        Looks at the data, at what the layers give and at the gradients for up to 512 rows;
        trains copies for 100 steps, at the optimizer's learning rate and, where the loss does not
        fall, at others; and reads `history`.

        Parameters
        ----------
        x, y
            As in `fit`.
        batch_size : int, default 32
            Of the trials; take the one to train with.

        Returns
        -------
        fastnn.analysis.diagnosis.Diagnosis
            Its `findings`: each with the layer, the figure that shows it, and what to try.

        Raises
        ------
        ValueError, TypeError
            An argument does not fit.

        Notes
        -----
        It names: inputs and targets that are not scaled; targets that are all the same, or that
        the model's end cannot give; an activation between the logits and a loss of logits; relu
        units that are 0 for all rows (half of a layer's); sigmoid and tanh at their limits (70 %
        of what a layer gives); units with the same weights; kernels whose gradient vanishes (0.2 %
        of the largest, norms by the root of the number of inputs) or explodes (100); a learning
        rate at which the loss falls by less than 3 % while another brings a quarter of what
        predicting a constant gives; and a plateau in the history, where one of these is found,
        too. What has nothing to do with x cannot be learned, and is no fault.

        Examples
        --------
        >>> import fastnn as fnn
        >>> x, y = fnn.datasets.load_digits()
        >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
        >>> model.compile(fnn.Adam(1e-7), "crossentropy")
        >>> [finding.kind for finding in model.diagnose(x / 16, y).findings]
        ['learning rate too low']
        >>> model.optimizer.learning_rate = 1e-3
        >>> model.diagnose(x / 16, y)
        nothing found that would keep the model from learning (512 rows)
        """
        from fastnn.analysis import diagnosis

        batch_size = checks.integer("batch_size", batch_size)
        sources, target_types = self.training_data(x, y)
        data.not_empty(sources[0].rows)
        return diagnosis.diagnose(self, sources, target_types, batch_size=batch_size)

    # --- your own loop ------------------------------------------------------------------------

    def forward(self, x: object, *, training: bool = False) -> np.ndarray | list[np.ndarray]:
        """Return the outputs for x; with `training`, keep what `backward` needs.

        Parameters
        ----------
        x : array_like, shape (rows, *input_shape)
        training : bool, default False
            Whether dropout drops, and `backward` may follow.

        Returns
        -------
        ndarray, shape (rows, *output_shape), or a list of them for several outputs
        """
        if not training:
            return self.predict(x)
        sources = self._checked_inputs(x)
        rows = sources[0].rows
        data.not_empty(rows)
        # The rows are copied, because the caller may reuse x before backward. Dropout gets the
        # number of the coming update, or, if that has been used, one far from all others.
        step, count = self._forwards
        count = count + 1 if step == self.runtime.step else 0
        self._forwards = self.runtime.step, count
        number = self.runtime.step + 1 + (count << 40)
        sources = [s.copy() if isinstance(s, Sparse) else s for s in sources]
        steps = Steps(sources, rows, rows, in_place=False)
        # No update of the optimizer's, but moving statistics ask for a rate like any.
        rate = np.zeros(1)
        bound = self.runtime.bound(Purpose.MANUAL, rows, sparse=steps.sparse)
        bound.prepare(steps, learning_rates=rate).section("forward", number)
        self._manual = bound, sources, number
        outputs = bound.kept(steps)
        return outputs if len(outputs) > 1 else outputs[0]

    def backward(self, grad_output: object) -> dict[str, np.ndarray]:
        """Compute the gradients of all parameters from that of the output.

        Parameters
        ----------
        grad_output : array_like, shape (rows, *output_shape)
            Derivative of your loss by what ``forward(x, training=True)`` returned; a list where
            that is one. The gradients of the penalties of regularizers are added.

        Returns
        -------
        dict of str to ndarray
            `gradients`; they are set, not added to.

        Raises
        ------
        RuntimeError
            ``forward(x, training=True)`` has not been called since the parameters were last
            changed by a step or by `set_weights`.

        Notes
        -----
        What is written into a view of `parameters` is not seen: call `forward` again after
        that, or the gradients mix its outputs with the new parameters.
        """
        if self._manual is None:
            raise RuntimeError(
                "call forward(x, training=True) first; what it keeps lasts until the parameters "
                "are changed"
            )
        bound, sources, number = self._manual
        rows = sources[0].rows
        shapes = list(zip(self.output_names, self.runtime.output_shapes, strict=True))
        seed = data.inputs(grad_output, shapes, self.dtype, "grad_output")
        if seed[0].rows != rows:
            raise ValueError(f"grad_output must have {rows} rows, got {seed[0].rows}")
        steps = Steps([*sources, *seed], rows, rows, in_place=False)
        bound.prepare(steps).section("backward", number)
        self.runtime.clear_frozen_gradients()  # frozen since `forward`
        self._has_gradients = True
        return self.gradients

    def forget_forward(self) -> None:
        """Drop what `forward` has kept: the parameters are about to change."""
        self._manual = None

    def apply_gradients(self) -> None:
        """Make one optimizer step with what is in `gradients`.

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
        chosen = self._compiled()
        if not self._has_gradients and not self.runtime.arenas["gradients"].any():
            raise RuntimeError("there are no gradients yet: call backward(grad_output) first")
        bound = self.runtime.bound(Purpose.UPDATE, 1)
        rate = chosen.optimizer.rates(self.runtime.step)
        self.forget_forward()
        self._has_gradients = True  # written by hand, they may be zeros from now on
        bound.prepare(Steps([], 1, 1), learning_rates=rate).make()

    # --- using it -----------------------------------------------------------------------------

    def predict(self, x: object, *, batch_size: int = ROWS) -> np.ndarray | list[np.ndarray]:
        """Return the outputs for x.

        Parameters
        ----------
        x : array_like or sparse matrix, shape (rows, *input_shape)
            Or an iterable of them that is not a list or tuple; of tuples (x, ...) it yields, the
            first entries are taken.
        batch_size : int, default 512
            Rows computed at a time; does not change the result.

        Returns
        -------
        ndarray, shape (rows, *output_shape)
            Of the model's dtype; a list of them for several outputs.

        Examples
        --------
        >>> import fastnn as fnn, numpy as np
        >>> model = fnn.Sequential([fnn.Dense(2)], input_shape=(3,))
        >>> model.predict(np.zeros((4, 3))).shape
        (4, 2)
        """
        batch_size = checks.integer("batch_size", batch_size)
        output = None if self._runtime is None else self._runtime.fast_path.try_predict_few(x)
        if output is not None:
            return output
        made = []
        with contextlib.closing(adapter.parts_for_prediction(self, x, batch_size)) as all_parts:
            for steps in all_parts:
                outs = [
                    np.empty((steps.rows, *shape), self.dtype)
                    for shape in self.runtime.output_shapes
                ]
                if steps.rows:
                    steps.batch = min(batch_size, max(steps.rows, ROWS))
                    bound = self.runtime.bound(Purpose.PREDICT, steps.batch, sparse=steps.sparse)
                    names = [value.name for value in bound.plan.program.outputs]
                    bound.prepare(steps, outputs=dict(zip(names, outs, strict=True))).all()
                made.append(outs)
        if not made:
            raise ValueError("x must yield at least one batch, got none")
        fast_path = self.runtime.fast_path
        if len(made) == 1 and steps.rows and not steps.sparse and fast_path.wants_few_rows:
            fast_path.prepare_few_rows(bound, self.runtime.graph)
        outs = [
            parts[0] if len(parts) == 1 else np.concatenate(parts)
            for parts in zip(*made, strict=True)
        ]
        return outs if len(outs) > 1 else outs[0]

    def predict_one(self, x: object) -> np.ndarray | list[np.ndarray]:
        """Return the output for one sample, in microseconds.

        The same as `predict` for a batch of one, bit for bit, and many times quicker for a
        small network.

        Parameters
        ----------
        x : array_like, shape (*input_shape)
            One sample, without an axis of rows; a list of them for a model of several inputs.
            Quickest as a float32 or float64 array without gaps.

        Returns
        -------
        ndarray, shape (*output_shape)
            Of the model's dtype; a new one each time. A list of them for several outputs.

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
        return single_sample.predict(self, x)

    def __call__(self, x: object) -> np.ndarray | list[np.ndarray]:
        """Return the same as `predict`."""
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
            "loss", of several outputs those of each ("dense_loss"), then the metrics; what a
            metric gives that is not one number stays as it is.
        """
        batch_size = checks.integer("batch_size", batch_size)
        tally: Accumulator | None = None
        with contextlib.closing(
            adapter.parts_for_evaluation(self, x, y, sample_weight, batch_size)
        ) as parts:
            for steps in parts:
                data.not_empty(steps.rows)
                steps.batch = min(batch_size, max(steps.rows, ROWS))
                bound = self.runtime.bound(
                    Purpose.EVALUATE, steps.batch, steps.target_types, steps.sparse, collects=True
                )
                tally = tally or Accumulator(bound.plan.program, self.dtype)
                results = np.empty((steps.count, len(bound.plan.program.results)))
                room = tally.room(steps)
                bound.prepare(steps, results=results, outputs=room).all()
                tally.add(steps, results, room)
        if tally is None:
            raise ValueError("x must yield at least one batch, got none")
        return tally.logs()

    # --- looking at it ------------------------------------------------------------------------

    def summary(self) -> None:
        """Print the layers with output shapes and numbers of parameters."""
        print(graph.summary(self.runtime.graph, self.dtype))

    def explain(self, program: str | None = None, *, batch_size: int = 32) -> None:
        """Print a program: its ops with shapes and places, and what was fused.

        Parameters
        ----------
        program : {"train", "gradients", "evaluate", "predict", "manual", "update",
                "activations"}, optional
            Default: "train" for a compiled model ("gradients" with `LBFGS`), else "predict".
        batch_size : int, default 32
            Rows to plan for.
        """
        if program is None:
            optimizer = self.optimizer
            steps = Purpose.TRAIN if optimizer is None or optimizer.kernel else Purpose.GRADIENTS
            program = Purpose.PREDICT if optimizer is None else steps
        purpose = Purpose.named(program)
        target_types: tuple[str, ...] = ("real",)
        if purpose.needs_objective:
            losses_of = [aim.loss for aim in self._compiled().outputs]
            target_types = tuple("label" if loss.takes_labels else "real" for loss in losses_of)
        bound = self.runtime.bound(purpose, checks.integer("batch_size", batch_size), target_types)
        count, padded = self.count_parameters(), self.runtime.count
        hint = f", {padded:,} with padding: each array starts on a cache line of its own"
        print(f"{count:,} parameters{hint if padded > count else ''}")
        print(describe(bound.plan))

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
            As in `fit`; without y the prediction is timed, as in `predict`.
        steps : int, default 200
            How many to run; each time is a median over them.
        batch_size : int, optional
            Rows of a step; default 32, or 512 without y.

        Returns
        -------
        fastnn.analysis.profiling.Profile
            Its `rows` hold the numbers, its `plot` draws them.

        Raises
        ------
        ValueError, TypeError
            An argument does not fit.
        NonFiniteLossError
            The loss is not finite.

        Notes
        -----
        Times are those of the first worker, barriers included; reading the clock takes some 25 ns
        of each. "limit" compares with what ``fastnn bench --limits`` finds on this machine, which
        is measured first where it is not known: the multiply-adds of an op at their best speed,
        or its bytes at that of the memory they come from, whichever takes longer. Multiply-adds
        of functions (exp, tanh, an update) are estimates. The learning rate is 0 meanwhile.

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

        made = profiling.profile(self, x, y, steps=steps, batch_size=batch_size)
        print(made)
        return made

    # --- files --------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike) -> None:
        """Save architecture, parameters, and the state of training to a safetensors file.

        Written to a temporary file beside it first, so that a crash leaves the old one whole.

        Parameters
        ----------
        path : path-like
        """
        from fastnn.exchange import model_file

        model_file.save(self, path)


class Sequential(Model):
    """A network of layers, one after the other.

    Parameters
    ----------
    layers : iterable of Layer
        An `Input` may come first, instead of `input_shape`.
    input_shape : tuple of int, optional
        Of one sample; None: taken from the first data seen.
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
        self._start(dtype, seed)
        if isinstance(layers, Layer) or not hasattr(layers, "__iter__"):
            raise TypeError(
                f"layers must be a list of Layer instances, got {checks.shown(layers, Layer)}"
            )
        given: list[Any] = list(layers)
        if given and isinstance(given[0], Tensor):
            if input_shape is not None:
                raise ValueError("give input_shape or an Input first, not both")
            input_shape = given.pop(0).shape
        self._layers = checks.items("layers", given, Layer)
        if not self._layers:
            raise ValueError("layers must hold at least one layer, got none")
        if input_shape is not None:
            self._chain(checks.shape("input_shape", input_shape))

    def _chain(self, shape: Shape) -> None:
        first = tensor = Tensor(shape, name="input")
        graph.name_layers(list(dict.fromkeys(self.layers)))
        for layer in self.layers:
            tensor = layer(tensor)
        self._build([first], [tensor])

    @contextlib.contextmanager
    def _built_for(self, x: object) -> Iterator[None]:
        """Build a model that was waiting for the shape of x; undone if x then does not fit."""
        shape = data.checked_rows("x", x).shape
        if len(shape) < 2 or 0 in shape:
            raise ValueError(f"x must have shape (rows, inputs), got {shape}")
        self._chain(shape[1:])
        try:
            yield
        except Exception:
            self._unbuild()
            raise

    def _unbuild(self) -> None:
        """Undo what `_built_for` did."""
        self._runtime = None
        for layer in self.layers:
            layer.take(None, {})


def load(
    path: str | os.PathLike,
    *,
    custom_objects: Mapping[str, type[Layer] | losses.Custom] | None = None,
) -> Model:
    """Load a model that `Model.save` wrote, ready to predict or to go on training.

    Parameters
    ----------
    path : path-like
    custom_objects : dict of str to type or losses.Custom, optional
        Classes of your own layers, by kind or by their own name, where they are not registered
        (see `Layer`); and losses of your own, by name.

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
        It is not a model that fastnn wrote, or damaged, or holds a layer or loss that is not
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

    kinds: dict[str, type[Layer]] = {}
    own: dict[str, losses.Custom] = {}
    for name, one in (custom_objects or {}).items():
        if isinstance(one, losses.Custom):
            own |= {name: one, one.name: one}
        elif isinstance(one, type) and issubclass(one, Layer):
            kinds |= {name: one, one.kind: one}
        else:
            raise TypeError(
                f"custom_objects[{name!r}] must be a class of layers or a losses.Custom, "
                f"got {one!r}"
            )
    return model_file.restore(*model_file.read(path), path, kinds, own)


__all__ = ["Model", "Sequential", "load"]
