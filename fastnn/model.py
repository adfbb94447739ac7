"""`Model` and `Sequential`: build, weights, compile, fit, evaluate, predict, save."""

from __future__ import annotations

import copy
import copyreg
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Never, NoReturn

import numpy as np

from fastnn.callbacks import Callback
from fastnn.compilation import checked_precision, objective_of
from fastnn.core import checks, files, hints
from fastnn.core.views import Views
from fastnn.layers import Layer, Shape, Tensor, arguments
from fastnn.layers.base import check_training_of_part
from fastnn.layers.summary import table_of
from fastnn.network import Network, checked_options
from fastnn.optimizers import Optimizer
from fastnn.runtime import ROWS
from fastnn.runtime.gradients import one_or_list
from fastnn.runtime.turns import ALL, NOTHING
from fastnn.training import decisions, evaluation, loop, single_sample, steps
from fastnn.training.gradients_of import gradients_of
from fastnn.training.history import History
from fastnn.training.manual import ManualSteps

if TYPE_CHECKING:
    from fastnn.analysis.diagnosis import Diagnosis
    from fastnn.analysis.lr_finder import LearningRateFinder
    from fastnn.analysis.profiling import Profile
    from fastnn.exchange.weights_file import LoadedWeights
    from fastnn.training.checkpoint import Store


_AUTO = "auto"  # one object, which `predict` recognizes at once
_OF_PREDICT = ("x", "batch_size", "verbose")


@hints.explains_arguments("predict", "predict_one", "learn_one")
class Model:
    """A network of layers as a graph from inputs to outputs.

    Parameters
    ----------
    inputs : Tensor or list of Tensor
        The tensors that `Input` returned; also a dict by their names. Where one is what a layer
        returned, the model begins there: the decoder of an autoencoder, for example.
    outputs : Tensor or list of Tensor
        What the layers returned for them. Where there are several, each has the name of its
        layer, or of the model that is a part: `predict` returns a list, and targets and losses are
        lists or dicts keyed by name.
    dtype : {"float32", "float64", "bfloat16"}, default "float32"
        Of parameters and arithmetic; data may have any real dtype. With "bfloat16", parameters are
        float32 and large products round their operands: see `precision` in `compile`.
    seed : int, optional
        Determines initial weights, shuffling and dropout; None: a different seed each time.
        NumPy's global generator is never touched.
    name : str, optional
        What a model that this one is part of calls it; default: "model", numbered.

    Attributes
    ----------
    layers : tuple of Layer or Model
    parameters, gradients : dict of str to ndarray
        Views, keyed by "layer/parameter": "dense/kernel" has shape (inputs, units). The gradients
        are those of `backward`; training applies its own at once and may not store them here.
    history : History or None
        Of the last `fit`.
    stop_training : bool
        Set it in a callback to end `fit`.
    trainable : bool
        Whether all layers learn. Setting it sets each layer's, in all models that share them;
        `compile` has `frozen` for one model alone.

    Notes
    -----
    Layers, models and tensors can be used again: a model over some layers of another, over its
    tensors, or with whole models as its parts shares their parameters. Training one is seen by
    the others at once; each has its own optimizer state. Calling a model on tensors, or making it
    a part of a `Sequential`, does so; `clone_model` and ``copy.deepcopy`` make independent ones.

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
        name: str | None = None,
    ) -> None:
        self._hold(Network(*checked_options(dtype, seed), name=checks.optional_name(name)))
        self.network.build(*arguments.checked_ends(inputs, outputs))

    def __init_subclass__(cls, **options: Any) -> None:
        """Reject methods that other libraries would call."""
        super().__init_subclass__(**options)
        hints.check_methods(cls)

    def _hold(self, network: Network) -> None:
        """Wrap a network."""
        self.network = network
        network.face = weakref.ref(self)
        self._manual = ManualSteps(network)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.network.face = weakref.ref(self)

    @classmethod
    def of(cls, network: Network) -> Model:
        """Return the model of a network, or a new one: a `Sequential` if its layers form a chain.

        Parameters
        ----------
        network : fastnn.network.Network

        Returns
        -------
        Model
        """
        known = network.face and network.face()
        if known is not None:
            return known
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
        existing = getattr(cls, name, None)
        if isinstance(existing, property) and existing.fset is None:
            told = _INSTEAD_OF_SETTING.get(name, "give it to the constructor")
            raise AttributeError(f"Model.{name} cannot be set: {told}")
        super().__setattr__(name, value)

    def __reduce__(self) -> tuple:
        """Copy and pickle a model by its description, because its arrays share memory.

        A subclass, attributes of one's own, and what `compile` was given are kept as they are.
        """
        from fastnn.exchange import copies, placed

        if not self.built:
            state = copy.deepcopy(self.__dict__)  # copy.copy must not share the network
            return copyreg.__newobj__, (type(self),), state  # type: ignore[attr-defined]
        own = {
            name: placed.placed(value, self.network)
            for name, value in vars(self).items()
            if name not in ("network", "_manual")
        }
        made = copies.copied(self.network)
        if made.objective is not None:  # copy.copy must not share the optimizer
            made.objective = copy.deepcopy(made.objective)
        return _from_copied, (type(self), made, own)

    def __repr__(self) -> str:
        name = f"{type(self).__name__} of {checks.counted(len(self.network.layers), 'layer')}"
        if not self.built:
            return f"<{name}, not built yet>"
        shapes = [shape for _, shape in self.input_shapes]
        given = shapes[0] if len(shapes) == 1 else shapes
        return (
            f"<{name}, {given} to {self.output_shape}, "
            f"{self.count_parameters():,} parameters, {self.network.shown_dtype}>"
        )

    # --- components -----------------------------------------------------------------------------

    @property
    def dtype(self) -> str:
        """The dtype of parameters and outputs: "float32" or "float64". It is compiled in."""
        return self.network.dtype

    @property
    def precision(self) -> str:
        """How products are computed: as the dtype says, or "mixed_bfloat16"; see `compile`."""
        return self.network.precision

    @property
    def seed(self) -> int | None:
        """The seed of initial weights, shuffling and dropout; None if they are random."""
        return self.network.seed

    @property
    def name(self) -> str:
        """The name given to the model, or "sequential" or "model"."""
        return self.network.name

    @property
    def layers(self) -> tuple[Layer | Model, ...]:
        """The layers, and the models that are parts, each once if the model is built."""
        return tuple(
            part if isinstance(part, Layer) else Model.of(part)  # type: ignore[arg-type]
            for part in self.network.parts
        )

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer | Model:
        """Return a layer, or a model that is a part, by its name or its position in `layers`.

        Parameters
        ----------
        name : str, optional
            As `summary` shows it; "encoder/dense" is layer "dense" of part "encoder".
        index : int, optional

        Returns
        -------
        Layer or Model

        Raises
        ------
        TypeError
            Both are given, or neither.
        ValueError, IndexError
            There is no such layer.

        Examples
        --------
        >>> import fastnn as fnn
        >>> model = fnn.Sequential([fnn.Dense(8, "relu"), fnn.Dense(1)], input_shape=(4,))
        >>> model.get_layer("dense_1").units
        1
        """
        if (name is None) == (index is None):
            raise TypeError("get_layer takes name or index, one of them")
        layers = self.layers
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise IndexError(f"index must be in [0, {len(layers)}), got {index!r}")
            return layers[index]
        found = self.network.named_parts()
        if isinstance(name, int):
            raise TypeError(f"name must be a string, got {name!r}: write index={name!r}")
        if name not in found:
            near = hints.nearest(str(name), found)
            hint = f"; did you mean {near!r}?" if near else f"; it has {', '.join(found)}"
            raise ValueError(f"name: the model has no layer {name!r}{hint}")
        part = found[name]
        return part if isinstance(part, Layer) else Model.of(part)

    @property
    def trainable(self) -> bool:
        """Whether all layers learn. Setting it sets that of each layer."""
        return all(layer.trainable for layer in self.network.layers)

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        trainable = checks.boolean("trainable", trainable)
        for layer in self.network.layers:
            layer.trainable = trainable

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors that the model begins with."""
        return list(self.network.ends[0])

    @property
    def outputs(self) -> list[Tensor]:
        """The tensors that the model ends with."""
        return list(self.network.ends[1])

    @property
    def input(self) -> Tensor | list[Tensor]:
        """The tensor that the model begins with; a list if there are several."""
        return one_or_list(self.inputs)

    @property
    def output(self) -> Tensor | list[Tensor]:
        """The tensor that the model ends with; a list if there are several."""
        return one_or_list(self.outputs)

    @property
    def built(self) -> bool:
        """Whether the shapes, and so the parameters, are known."""
        return self.network.built

    @property
    def parameters(self) -> dict[str, np.ndarray]:
        """Views of the parameters, keyed by "layer/parameter"."""
        return Views(self.network.runtime.parameters)

    @property
    def gradients(self) -> dict[str, np.ndarray]:
        """Views of the gradients, keyed by "layer/parameter"."""
        return Views(self.network.runtime.gradients)

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
        """Name of each output: that of the layer, or of the part, that it comes from."""
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
        weights : sequence of array_like, or dict by name
            As `get_weights` returns them, or as `parameters`.

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
        frozen: object = (),
        weighted_metrics: object = None,
        precision: object = None,
    ) -> None:
        """Set how to train. The optimizer's state is reset, and with it the count of steps.

        Parameters
        ----------
        optimizer : str or Optimizer, default "rmsprop"
            The model takes a copy, `Model.optimizer`, so that several models may be given the same
            object. What is set on the object later is set on its copies, too.
        loss : str or Loss, optional
            A name, one of `fastnn.losses`, or one of your own (`fastnn.losses.Custom`). A model
            with several outputs takes one for all of them, or a list or dict with one for each.
            Without a loss, a model can be trained in a loop of your own (`forward`, `backward`,
            `apply_gradients`).
        metrics : str, Metric or function, or iterable of them, optional
            A model with several outputs takes one list for all of them, or a list or dict of
            such lists. These count all rows alike.
        loss_weights : list or dict of float, optional
            The weight of each output's loss in the sum that is minimized; default 1.
        frozen : Layer or Model, or a list of them, optional
            Parts that this model does not train, whatever their `trainable`; other models that
            share them may. A discriminator is frozen in the model that trains the generator.
        weighted_metrics : as `metrics`, optional
            Metrics that count each row with its weight (`sample_weight`, `class_weight`): a mean
            is the sum of weight times value, divided by the sum of the weights. The key of one
            that is among `metrics`, too, begins with "weighted_".
        precision : {"float32", "float64", "mixed_bfloat16"}, optional
            "mixed_bfloat16" rounds the operands of large products to bfloat16, in training and in
            prediction, and sums in float32; parameters, gradients and the optimizer's state stay
            float32. Processors with AVX512-BF16 then compute them up to twice as fast; others
            emulate it, and a warning says so. Layers of fewer than 64 inputs, 64 units, or 16,384
            weights, sparse inputs, and gradients of at most 8 rows are left as they are; numbers
            beyond 3.38e38 become infinite. "float32" ends it, also in a model of dtype "bfloat16".
            It belongs to this model, not to models that it contains or shares layers with.
            Default: as it is.

        Raises
        ------
        ValueError, TypeError
            A name is unknown, and the nearest one is suggested; or there are metrics without a
            loss.

        Examples
        --------
        >>> import fastnn as fnn
        >>> model = fnn.Sequential([fnn.Dense(1)], input_shape=(3,))
        >>> model.compile(optimizer=fnn.Adam(1e-3), loss="mse", metrics=["mae"])
        """
        network = self.network
        if network.is_fitting and not network.turns.others_change:
            raise RuntimeError("compile cannot be called while fit runs (from a callback)")
        names = network.output_names if network.built else ["output"]
        told = objective_of(optimizer, loss, metrics, loss_weights, names, weighted_metrics)
        within = arguments.layers_within("frozen", frozen, network.layers)
        network.configure(told, within, checked_precision(precision, network.dtype))

    @property
    def optimizer(self) -> Optimizer | None:
        """The copy of the optimizer given to `compile`; its learning_rate may be set at any time.

        Set on it, a hyper-parameter changes for this model alone; set on the object that was given
        to `compile`, for all models that were compiled with that. A schedule counts the steps from
        `compile` on (`iterations`): one that is to begin later has an `initial_step`.
        """
        objective = self.network.objective
        return None if objective is None else objective.optimizer

    @property
    def iterations(self) -> int:
        """Number of steps taken since `compile`, also those before `save`: what a schedule counts.

        Give it to a schedule for a new phase of training as its `initial_step`.

        Examples
        --------
        >>> import fastnn as fnn
        >>> x, y = fnn.datasets.load_digits()
        >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
        >>> model.compile(fnn.Adam(fnn.schedules.CosineDecay(0.01, 57)), "crossentropy")
        >>> first = model.fit(x / 16, y, verbose=0)
        >>> model.iterations
        57
        >>> model.optimizer.learning_rate = fnn.schedules.CosineDecay(
        ...     0.001, 57, initial_step=model.iterations)
        >>> second = model.fit(x / 16, y, verbose=0)
        """
        return self.network.runtime.step if self.network.built else 0

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
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Iterable[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: tuple[object, ...] | Iterable[tuple[object, ...]] | None = None,
        shuffle: bool = True,
        class_weight: Mapping[Any, float] | None = None,
        sample_weight: object = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Iterable[int] = 1,
        *,
        time_budget: float | None = None,
        resume_from: str | PathLike[str] | None = None,
    ) -> History:
        """Train for a number of epochs. The arguments have Keras' names, in Keras' order.

        Parameters
        ----------
        x : array_like or sparse matrix, shape (rows, *input_shape)
            Of any real dtype; a list of arrays for a model with several inputs. x and y may be
            pandas or Polars frames with numeric columns, whose names are remembered: from then on
            the columns of a frame are taken by name, in whatever order, and a missing or unknown
            name is an error (see `feature_names`). A model with several inputs also takes a dict
            by their names. An input that a `StringLookup` reads takes text: arrays of text or
            objects, columns of pandas, Polars and Arrow. A matrix or array of `scipy.sparse` is not
            made dense where a `Dense` layer reads it. A `np.memmap` of 256 MB or more is read in
            windows of 64 MB, two of which are in memory at a time; its numbers are checked as they
            are read, and an error names the row. x may also be an iterable of batches (x, y): a
            generator, a list, an object with ``__iter__``, or with ``__getitem__`` and ``__len__``.
            A thread reads a few batches ahead and copies them; each is checked before its step. If
            the object has methods `on_epoch_begin` and `on_epoch_end`, they are called before the
            first and after the last batch of each epoch, as those of Keras' PyDataset (Sequence).
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
            Number of the epoch that training ends with: with `initial_epoch`, ``epochs -
            initial_epoch`` are trained.
        verbose : {"auto", 0, 1, 2}, default "auto"
            0: silent; 1 and "auto": a progress bar (plain lines without a terminal); 2: one line
            per epoch.
        callbacks : iterable of Callback, optional
        validation_split : float, default 0
            Fraction of the rows, taken from the end, that is held out for validation, rounded to
            whole rows.
        validation_data : tuple (x, y) or (x, y, sample_weight), or iterable of batches, optional
            Arrays are checked once, when `fit` begins. With an optimizer that keeps a moving
            average of the parameters (``use_ema=True``), see `SwapEMAWeights`.
        shuffle : bool, default True
            Whether each epoch takes the rows in a new order; an iterable's batches keep theirs.
            For a large `np.memmap`, blocks of two megabytes are shuffled, and then the rows of
            the blocks that share a window.
        class_weight : dict of int or label to float, optional
            The factor for each class; 1 for a class that is left out. If `sample_weight` is given
            too, they are multiplied.
        sample_weight : array_like, shape (rows,), optional
            The factor of each row's loss. As in Keras, the loss of a batch is still the sum over
            its rows divided by their number. A negative one makes the row's loss grow, as
            REINFORCE needs where a return is below its baseline. A row of weight 0 has no effect,
            and its target may be anything: NaN, or a label such as -100. Metrics are not weighted
            (see `compile` for those that are). For several outputs, one array for all, or a list
            or dict with one for each. Batches carry their own: (x, y, sample_weight).
        initial_epoch : int, default 0
            Number of completed epochs from which to count on, for a training that is resumed: the
            history, callbacks, and the file names of `ModelCheckpoint` go on with it.
        steps_per_epoch : int, optional
            How many batches of an iterable make an epoch; None: all. The next epoch goes on where
            the last one stopped; an iterable that can be iterated over again (a list, not a
            generator) begins anew when it has ended, within an epoch if need be. If an iterator
            ends early, training ends with that epoch, and `History.stop_reason` says so.
        validation_steps : int, optional
            How many batches of `validation_data` to validate with, the first ones each time; None:
            all. An iterator, which needs this argument, goes on where it stopped; at its end,
            training ends.
        validation_batch_size : int, optional
            Rows of the arrays to validate with that are computed at a time; does not change the
            results. Default 512.
        validation_freq : int or iterable of int, default 1
            Epochs from one validation to the next; or the numbers, counted from 1, of the epochs
            to validate. Callbacks that monitor a result of the validation pass over the others,
            which do not count for `patience`.
        time_budget : float, optional
            Seconds after which training ends, within an epoch if need be, at most one batch too
            late. Validation and callbacks at the end of the last epoch are assumed to take as
            long as in the epoch before; in the first epoch their time comes on top.
        resume_from : path-like, optional
            A training that `BackupAndRestore` has saved, to be continued to the same bits as if it
            had not been interrupted. The model is built and compiled as it was then, and gets its
            parameters, the optimizer's state, rates and generators; the other arguments are those
            of that training, except that `epochs` may be larger. Callbacks go on with what they
            had noted. A backup that `BackupAndRestore` itself finds comes first, being later.

        Returns
        -------
        History
            Its `stop_reason` says why training ended.

        Raises
        ------
        ValueError, TypeError
            An argument does not fit; nothing has changed.
        RuntimeError
            Another thread trains this model, or one that shares a layer that both train; nothing
            has changed.
        NonFiniteLossError
            The loss became NaN or infinite. The message names the step and the layer; the
            parameters are the last ones known to be finite, at worst those from the start of the
            epoch, or, with `EarlyStopping`, those of the best epoch.
        KeyboardInterrupt
            Ctrl-C was pressed; the model is at the end of a step, and `history` holds the
            results so far.

        Notes
        -----
        While it trains, a model belongs to the thread that called `fit`. What would change it from
        another thread (`fit`, `train_on_batch`, `learn_one`, `compile`, `set_weights`,
        `load_weights`) raises RuntimeError. What only looks at it from another thread (`predict`,
        `evaluate`, `save`, `get_weights`) waits for the end of the steps that are being made, at
        most some 50 ms, sees the model as it is then, and lets the training wait meanwhile. So it
        is with models that share layers: two trainings of the same layer in two threads raise
        RuntimeError, and a model waits for the steps of another one that trains what both have.
        Frozen layers (``trainable = False``, or `frozen` of `compile`) are in nobody's way, so that
        heads on one base can be trained at the same time. Trainings of several models in several
        threads share the number of threads among them (`fastnn.set_num_threads`).

        Short trainings may follow one another on the same arrays: what was prepared for NumPy
        arrays of up to 4 MB that come a second time is kept, with the arrays, until others come. A
        call then costs a third of what it did, with ``verbose=0`` and without callbacks, validation
        and weights. Their numbers may change in between; they are checked each time. Such an array
        is not freed before, nor can it be resized in place.

        Examples
        --------
        >>> import fastnn as fnn
        >>> x, y = fnn.datasets.load_digits()
        >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
        >>> model.compile("adam", "crossentropy", metrics=["accuracy"])
        >>> history = model.fit(x / 16, y, epochs=20, verbose=0)
        >>> history.history["accuracy"][-1] > 0.9
        True

        To resume a training, count on from the epochs that it has had:

        >>> model.fit(x / 16, y, epochs=22, initial_epoch=20, verbose=0).epoch
        [20, 21]
        """
        settings = loop.FitSettings(
            batch_size=batch_size,
            epochs=epochs,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            verbose=verbose,
            callbacks=callbacks,
            shuffle=shuffle,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
            validation_freq=validation_freq,
            time_budget=time_budget,
            resume_from=resume_from,
            store=_training_files,
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
        return steps.train_on_batch(self.network, x, y, sample_weight, class_weight)

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

        with self.network.names_on_trial(x, y):
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
        with self.network.names_on_trial(x, y):
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
        with self.network.turns.change("forward"):
            return one_or_list(self._manual.forward(samples))

    def backward(
        self, grad_output: object, *, wrt: Any = "parameters", accumulate: bool = False
    ) -> Any:
        """Compute gradients from that of the output, by default those of all parameters.

        Parameters
        ----------
        grad_output : array_like, shape (rows, *output_shape)
            Derivative of your loss with respect to what ``forward(x, training=True)`` returned; a
            list, or a dict by the outputs' names, if that is a list. The gradients of the
            regularizers' penalties are added to those of the parameters.
        wrt : {"parameters", "inputs"} or tuple of both, default "parameters"
            What to differentiate with respect to. With "inputs", `gradients` stay as they are.
        accumulate : bool, default False
            Whether the gradients of the parameters are added to those of earlier calls. The first
            call after the parameters have changed (by `apply_gradients`, `fit`, `set_weights`)
            overwrites them all the same, so that nothing has to be set to zero. A penalty is
            added by each call.

        Returns
        -------
        dict of str to ndarray, ndarray, or tuple
            For "parameters", `gradients`. For "inputs", an array of the shape of x, or a list of
            them for several inputs. For both, a tuple in the order of `wrt`.

        Raises
        ------
        RuntimeError
            ``forward(x, training=True)`` has not been called since the parameters were last
            changed by a step or by `set_weights`.
        ValueError, TypeError
            An argument does not fit, or an input has no gradient; nothing has changed.

        Notes
        -----
        It may be called several times after one `forward`. The first call for "inputs" runs
        forward once more, with the same dropout and without moving any statistics; after that,
        `forward` keeps what it needs.

        Writing into a view of `parameters` goes unnoticed: call `forward` again afterwards, or the
        gradients mix the outputs of the old parameters with the new ones.
        """
        with self.network.turns.change("backward", NOTHING):
            return self._manual.backward(grad_output, wrt, accumulate)

    def gradients_of(
        self,
        x: object,
        y: object = None,
        *,
        output_gradient: object = None,
        wrt: Any = "inputs",
        sample_weight: object = None,
        training: bool = False,
    ) -> Any:
        """Return gradients with respect to the inputs, the parameters, or both.

        With y, the compiled loss is differentiated, the mean over the samples. With
        `output_gradient`, the outputs are, weighted by it: a vector-Jacobian product, the gradient
        of a loss of your own. With neither, the sum of all outputs is, as by TensorFlow's
        ``GradientTape``; that of a softmax is always 1, so its gradient is about 0 everywhere: give
        ``output_gradient=np.eye(classes)[y]`` for one class of each row. Nothing in the model
        changes, not even `gradients`.

        Parameters
        ----------
        x : array_like, shape (rows, *input_shape)
            A list of arrays for a model with several inputs.
        y : array_like, optional
            As in `fit`.
        output_gradient : array_like, shape (rows, *output_shape), optional
            A list, or a dict by the outputs' names, for a model with several outputs.
        wrt : {"inputs", "parameters"} or tuple of both, default "inputs"
        sample_weight : array_like, shape (rows,), optional
            As in `fit`; only with y.
        training : bool, default False
            Whether layers act as in a training step: with dropout, drawn as in the next step, and
            with the statistics of the batch. Otherwise there is no dropout, and
            `BatchNormalization` is differentiated with its moving statistics as constants.

        Returns
        -------
        ndarray, dict of str to ndarray, or tuple
            For "inputs", an array of the shape of x and the model's dtype, or a list of them for
            several inputs. For "parameters", newly allocated arrays keyed by name; they are zero
            for parameters that do not learn (frozen ones and moving statistics). For both, a
            tuple in the order of `wrt`.

        Raises
        ------
        RuntimeError
            y was given, and `compile` no loss.
        ValueError, TypeError
            An argument does not fit, or an input has no gradient, because it is sparse or holds
            the categories of an `Embedding`; nothing has changed.

        Notes
        -----
        The penalties of regularizers belong to the loss, and so to the gradients with respect to
        parameters if y is given. Rows are taken 512 at a time, except in training. Gradients with
        respect to inputs alone cost no more than those with respect to parameters.

        Examples
        --------
        >>> import fastnn as fnn, numpy as np
        >>> critic = fnn.Sequential([fnn.Dense(8, "tanh"), fnn.Dense(1)], input_shape=(3,), seed=0)
        >>> x = np.random.default_rng(0).normal(size=(5, 3))
        >>> by_x = critic.gradients_of(x)  # how the value changes with each input
        >>> by_x.shape
        (5, 3)
        >>> step = 1e-2 * by_x
        >>> bool((critic.predict(x + step) > critic.predict(x)).all())
        True

        Saliency: how the probability of one class, here of number 2, changes with each input.

        >>> model = fnn.Sequential([fnn.Dense(10, "softmax")], input_shape=(3,), seed=0)
        >>> bool(abs(model.gradients_of(x)).max() < 1e-6)  # of the sum of the probabilities, 1
        True
        >>> y = np.full(5, 2)
        >>> bool(abs(model.gradients_of(x, output_gradient=np.eye(10)[y])).max() > 1e-3)
        True
        """
        return gradients_of(self.network, x, y, output_gradient, wrt, sample_weight, training)

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
        with self.network.turns.change("apply_gradients"):
            self._manual.apply_gradients()

    # --- prediction and evaluation --------------------------------------------------------------

    def predict(
        self,
        x: object,
        batch_size: int = ROWS,
        verbose: int | str = _AUTO,
        **unknown: Never,
    ) -> np.ndarray | list[np.ndarray]:
        """Return the outputs for x.

        Parameters
        ----------
        x : array_like or sparse matrix, shape (rows, *input_shape)
            Or an iterable of such batches that is not a list or tuple; if it yields tuples
            (x, ...), their first entries are used.
        batch_size : int, default 512
            Rows computed at a time; does not change the result.
        verbose : {"auto", 0, 1, 2}, default "auto"
            0 and "auto": silent; 1: a progress bar (a line without a terminal); 2: a line at the
            end.

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
        # Few rows of a small network take two microseconds, so that each call here would show.
        shown = 0
        if batch_size is not ROWS or verbose is not _AUTO or unknown:
            for name in unknown:
                raise hints.unexpected_argument("Model.predict", name, _OF_PREDICT)
            batch_size, shown = evaluation.checked_options(batch_size, verbose)
        if not shown:
            output = self.network.runtime.fast_path.try_predict_few(x)
            if output is not None:
                return output
        return one_or_list(evaluation.predict_rows(self.network, x, batch_size, shown))

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

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """Return what `forward` returns; for tensors, the tensors that the model makes of them.

        Parameters
        ----------
        x : array_like, or Tensor or list of Tensor
            A model that is called on tensors becomes part of another one and shares its
            parameters with it.
        training : bool, optional
            For arrays as in `forward`, default False. On tensors, whether a part acts as in
            training is not decided here but when the whole is trained or predicts, and False is
            refused unless that is the same: `BatchNormalization` with ``trainable = False`` uses
            its moving statistics.

        Examples
        --------
        >>> import fastnn as fnn
        >>> encoder = fnn.Sequential([fnn.Dense(2)], input_shape=(8,), name="encoder")
        >>> x = fnn.Input((8,))
        >>> list(fnn.Model(x, fnn.Dense(8)(encoder(x))).parameters)[0]
        'encoder/dense/kernel'
        """
        if isinstance(x, Tensor):
            x = [x]
        if isinstance(x, (list, tuple)) and x and all(isinstance(one, Tensor) for one in x):
            check_training_of_part(training, self.network.layers)
            return one_or_list(self.network.called_on(x))
        return self.forward(x, training=True) if training else self.predict(x)

    def evaluate(
        self,
        x: object,
        y: object = None,
        sample_weight: object = None,
        *,
        batch_size: int = ROWS,
        verbose: int | str = "auto",
    ) -> dict[str, Any]:
        """Return loss and metrics of all samples.

        Parameters
        ----------
        x, y, sample_weight
            As in `fit`.
        batch_size : int, default 512
            Rows computed at a time.
        verbose : {"auto", 0, 1, 2}, default "auto"
            0 and "auto": silent; 1: a progress bar with the results (a line without a terminal);
            2: a line with the results.

        Returns
        -------
        dict of str to float
            "loss", for several outputs the loss of each ("dense_loss"), then the metrics. The
            value of a metric that is not a single number stays as it is.
        """
        return evaluation.evaluate_rows(self.network, x, y, sample_weight, batch_size, verbose)

    # --- inspection -----------------------------------------------------------------------------

    def summary(self, *, print_fn: Callable[[str], object] | None = None) -> None:
        """Print the layers with their output shapes and numbers of parameters.

        Parameters
        ----------
        print_fn : function of str, optional
            What is called with the whole text instead of ``print``, such as ``logger.info``.
        """
        shown = checks.function("print_fn", print if print_fn is None else print_fn)
        shown(table_of(self.network.graph, self.dtype, self.precision))

    def explain(self, program: str | None = None, *, batch_size: int = 32) -> None:
        """Print a program: its ops with shapes and memory locations, and what was fused.

        Parameters
        ----------
        program : {"train", "gradients", "evaluate", "predict", "manual", "update",
                "activations", "accumulate", "loss_gradients", "training_loss_gradients",
                "vjp", "training_vjp"}, optional
            Default: "train" for a compiled model ("gradients" with `LBFGS`, "manual" without a
            loss), else "predict".
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

    def save(self, path: files.Target) -> None:
        """Save architecture, parameters, and the state of training to a safetensors file.

        It is written to a temporary file in the same directory first, so that a crash leaves an
        existing file intact. While a training runs in another thread, what is saved is the model
        between two of its steps.

        Parameters
        ----------
        path : path-like or binary file object

        Raises
        ------
        FileNotFoundError
            The folder does not exist.
        OSError
            The file cannot be written; an old one is unchanged.

        Examples
        --------
        >>> import fastnn as fnn, io
        >>> model, file = fnn.Sequential([fnn.Dense(2)], input_shape=(3,)), io.BytesIO()
        >>> model.save(file)
        >>> _ = file.seek(0)
        >>> fnn.load(file).count_parameters()
        8
        """
        from fastnn.exchange import model_file

        model_file.save(self.network, path)

    def save_weights(self, path: files.Target) -> None:
        """Save the parameters alone, under their names, to a safetensors file.

        Parameters
        ----------
        path : path-like or binary file object

        Raises
        ------
        FileNotFoundError
            The folder does not exist.

        Examples
        --------
        >>> import fastnn as fnn, os, tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "weights.safetensors")
        >>> model = fnn.Sequential([fnn.Dense(4, name="hidden"), fnn.Dense(2)], input_shape=(3,))
        >>> model.save_weights(path)
        >>> other = fnn.Sequential([fnn.Dense(4, name="hidden"), fnn.Dense(5)], input_shape=(3,))
        >>> found = other.load_weights(path, strict=False)
        >>> found.loaded
        ['hidden/kernel', 'hidden/bias']
        >>> found.mismatched
        ['dense/kernel', 'dense/bias']
        """
        from fastnn.exchange import weights_file

        weights_file.save(self.network, path)

    def load_weights(self, path: files.Target, *, strict: bool = True) -> LoadedWeights:
        """Set the parameters that a file holds, by their names; the optimizer keeps its state.

        Parameters
        ----------
        path : path-like or binary file object
            What `save_weights` or `save` wrote.
        strict : bool, default True
            Whether the file must hold exactly the parameters of the model.

        Returns
        -------
        LoadedWeights
            Lists of names: `loaded`, `missing`, `unexpected`, `mismatched`.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        FormatError
            It is not a safetensors file, or is damaged. It is a ValueError.
        ValueError
            A number is not finite, or, with `strict`, names or shapes differ; nothing has changed.
        """
        from fastnn.exchange import weights_file

        with self.network.turns.change("load_weights", ALL):
            return weights_file.load(self.network, path, strict=checks.boolean("strict", strict))


@hints.explains_arguments()
class Sequential(Model):
    """A network of layers, one after the other.

    Parameters
    ----------
    layers : iterable of Layer or Model, optional
        An `Input` may come first, instead of `input_shape`. More may be added with `add`.
    input_shape : tuple of int, optional
        Shape of one sample; None: taken from the first data seen.
    dtype : {"float32", "float64", "bfloat16"}, default "float32"
    seed : int, optional
    name : str, optional
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
        layers: Iterable[Layer | Model] | None = None,
        *,
        input_shape: Shape | None = None,
        dtype: str = "float32",
        seed: int | None = None,
        name: str | None = None,
    ) -> None:
        chain, shape = arguments.checked_chain(layers, input_shape)
        options = checked_options(dtype, seed)
        self._hold(Network(*options, chain, checks.optional_name(name)))
        self.network.set_chain(chain, shape)

    def add(self, layer: Layer | Model | Tensor) -> None:
        """Add a layer at the end.

        The other layers keep their parameters; the optimizer, if the model is compiled, starts
        afresh.

        Parameters
        ----------
        layer : Layer or Model
            The first may be an `Input`, instead of `input_shape`.

        Raises
        ------
        TypeError, ValueError
            It is not a layer, contains this model, or does not fit the output before it; nothing
            has changed.

        Examples
        --------
        >>> import fastnn as fnn
        >>> model = fnn.Sequential()
        >>> model.add(fnn.Input((4,)))
        >>> model.add(fnn.Dense(2))
        >>> model.output_shape
        (2,)
        """
        network = self._changeable("add")
        chain, shape = arguments.checked_chain([*network.chain_start, layer], None)
        for part in chain:
            if isinstance(part, Network) and part.contains(network):
                raise ValueError("layer: a model cannot be a part of itself")
        network.set_chain([*network.chain, *chain], shape)

    def pop(self) -> Layer | Model:
        """Remove the last layer and return it; see `add`.

        Raises
        ------
        ValueError
            There is none.
        """
        network = self._changeable("pop")
        if not network.chain:
            raise ValueError("the model has no layers")
        last = network.chain[-1]
        network.set_chain(network.chain[:-1], network.chain_shape)
        return last if isinstance(last, Layer) else Model.of(last)  # type: ignore[arg-type]

    def _changeable(self, method: str) -> Network:
        network = self.network
        if network.is_fitting and not network.turns.others_change:
            raise RuntimeError(f"{method} cannot be called while fit runs (from a callback)")
        with network.turns.change(method, NOTHING):
            return network


def _training_files() -> Store:
    """Return what saves and reads trainings; it is imported only where one is."""
    from fastnn.exchange import training_file

    return training_file


def clone_model(model: Model, *, seed: int | None = None) -> Model:
    """Return a model of the same architecture with newly initialized parameters, not compiled.

    Parameters
    ----------
    model : Model
    seed : int, optional
        Default: the model's.

    Returns
    -------
    Model
        It shares nothing with the model. ``copy.deepcopy`` returns one with the same parameters.

    Examples
    --------
    >>> import fastnn as fnn
    >>> model = fnn.Sequential([fnn.Dense(2)], input_shape=(3,), seed=0)
    >>> target = fnn.clone_model(model)
    >>> target.set_weights(model.get_weights())
    """
    if not isinstance(model, Model):
        raise TypeError(f"model must be a Model, got {checks.shown(model, Model)}")
    network = model.network
    _, seed = checked_options(network.given_dtype, network.seed if seed is None else seed)
    return Model.of(network.rebuilt(seed))


def _from_copied(
    cls: type[Model],
    made: Any,
    own: dict[str, Any],
    layers: Mapping[str, Layer] | None = None,
) -> Model:
    """Return the model that `Model.__reduce__` has described, for copies and pickles.

    `layers` are those that it shares with the model whose copy it belongs to, by name.
    """
    from fastnn.exchange import copies, placed

    model = cls.__new__(cls)
    network = copies.from_copied(made, layers)
    model._hold(network)
    for name, value in own.items():
        vars(model)[name] = placed.taken(value, network, Model.of, _from_copied)
    return model


_BY_CALL = "call model.{}"
_INSTEAD_OF_SETTING = {
    "optimizer": _BY_CALL.format("compile(optimizer, loss)"),
    "history": _BY_CALL.format("fit, which returns it"),
    "layers": _BY_CALL.format("add(layer) and model.pop(), or make a model of the layers"),
    "parameters": _BY_CALL.format("set_weights(weights), or write into parameters[name][...]"),
    "gradients": "write into gradients[name][...]",
    "iterations": "give a schedule an initial_step",
    "built": "give Sequential an input_shape",
    "precision": _BY_CALL.format("compile(optimizer, loss, precision=...)"),
}
_SETTABLE = ("stop_training", "stop_reason", "trainable", "classes", "feature_names")


def _public_names(cls: type) -> list[str]:
    """Return what a missing attribute may have been meant to be."""
    return [name for name in dir(cls) if not name.startswith("_")]


def _is_meant_otherwise(name: str) -> bool:
    """Whether an attribute of a user's class looks like a typo or another library's name."""
    is_slip = hints.nearest(name, _SETTABLE, cutoff=0.87) is not None
    return is_slip or name in ("lr", "learning_rate")


__all__ = ["Model", "Sequential", "clone_model"]
