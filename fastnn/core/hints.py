"""What to write instead of a name that Keras, PyTorch or scikit-learn use, or instead of a typo.

This and `elsewhere`, which has rows of it, are the only table of such names. An error that names
what came ends with the table's entry for it, or else with the most similar existing name.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import Any, TypeVar

from fastnn.core.elsewhere import ATTRIBUTES, IN_MODULES, NEVER_CALLED

T = TypeVar("T", bound=type)

# Names of losses, metrics, activations and initializers in other libraries, as `plain` spells them.
ELSEWHERE = {
    "sparsecategoricalcrossentropy": "crossentropy",
    "categoricalcrossentropy": "crossentropy",
    "crossentropyloss": "crossentropy",
    "nllloss": "crossentropy",
    "bce": "binary_crossentropy",
    "bceloss": "binary_crossentropy",
    "bcewithlogitsloss": "binary_crossentropy",
    "binarycrossentropywithlogits": "binary_crossentropy",
    "meansquarederror": "mse",
    "mseloss": "mse",
    "meanabsoluteerror": "mae",
    "l1loss": "mae",
    "smoothl1loss": "huber",
    "acc": "accuracy",
    "binaryaccuracy": "accuracy",
    "categoricalaccuracy": "accuracy",
    "sparsecategoricalaccuracy": "accuracy",
    "swish": "silu",
    "identity": "linear",
    "randomnormal": "normal",
    "randomuniform": "uniform",
    "xavieruniform": "glorot_uniform",
    "xaviernormal": "glorot_normal",
    "kaiminguniform": "he_uniform",
    "kaimingnormal": "he_normal",
}

_FROM_LOGITS = (
    "leave it out: the loss takes logits, and where the model ends with {link!r}, the input of that"
    " activation"
)
_INPUT_SHAPE = "give it to the model, Sequential([...], input_shape=(inputs,)), or use Input(shape)"
_FIRST_BATCHES = "give x the batches that are to be used, itertools.islice(batches, steps)"
_LOOP = "y_hat = model.forward(x, training=True); model.backward(grad_output)"

# (class or one of its bases, or class.method; argument or attribute): what to write instead.
ADVICE = {
    # Optimizers
    ("Optimizer", "lr"): "write learning_rate",
    ("Optimizer", "params"): "leave it out: compile gives the optimizer the model's parameters",
    ("Optimizer", "parameters"): "leave it out: compile gives the optimizer the model's parameters",
    ("Optimizer", "betas"): "write beta_1 and beta_2",
    ("Optimizer", "beta1"): "write beta_1",
    ("Optimizer", "beta2"): "write beta_2",
    ("Optimizer", "eps"): "write epsilon",
    ("RMSprop", "alpha"): "write rho",
    ("Optimizer", "decay"): "give learning_rate a schedule, schedules.InverseTimeDecay",
    ("Optimizer", "lr_decay"): "give learning_rate a schedule, schedules.InverseTimeDecay",
    ("Optimizer", "clip_norm"): "write clipnorm for each parameter, or global_clipnorm",
    ("Optimizer", "max_norm"): "write global_clipnorm",
    ("Optimizer", "l2"): "write weight_decay, or give the layers a kernel_regularizer",
    ("LBFGS", "history_size"): "write memory",
    ("LBFGS", "tolerance_grad"): "write tolerance_gradient",
    ("LBFGS", "max_iter"): "give fit epochs: each is one iteration",
    ("LBFGS", "maxiter"): "give fit epochs: each is one iteration",
    ("LBFGS", "tol"): "write tolerance_change",
    ("Optimizer", "step"): "call model.apply_gradients(), or train with fit or train_on_batch",
    ("Optimizer", "zero_grad"): "leave it out: model.backward overwrites the gradients",
    ("Optimizer", "accumulation_steps"): "write gradient_accumulation_steps",
    ("Optimizer", "no_decay"): "write weight_decay_exclusions",
    ("Optimizer", "apply_gradients"): "call model.apply_gradients()",
    ("Optimizer", "minimize"): "use fastnn.descent.minimize for a function, or fit for a model",
    ("Optimizer", "iterations"): "read model.iterations",
    ("Optimizer", "param_groups"): "set layer.learning_rate_factor for a rate of its own",
    ("Optimizer", "state_dict"): "call model.save(path), which saves the optimizer too",
    # Losses
    ("BinaryCrossentropy", "from_logits"): _FROM_LOGITS.format(link="sigmoid"),
    ("Crossentropy", "from_logits"): _FROM_LOGITS.format(link="softmax"),
    ("KLDivergence", "from_logits"): _FROM_LOGITS.format(link="softmax"),
    ("Poisson", "log_input"): _FROM_LOGITS.format(link="exponential"),
    ("Loss", "reduction"): "leave it out: a loss is the mean over the samples",
    ("Loss", "weight"): "give fit class_weight or sample_weight",
    ("Loss", "pos_weight"): "give fit class_weight or sample_weight",
    ("Loss", "axis"): "leave it out: classes lie on the last axis",
    ("Loss", "ignore_index"): "give fit a sample_weight of 0 for those samples; their label may"
    " then be anything",
    ("Huber", "beta"): "write delta",
    # Layers
    ("Layer", "input_dim"): _INPUT_SHAPE,
    ("Layer", "input_shape"): _INPUT_SHAPE,
    ("Layer", "in_features"): "leave it out: the layer takes it from its input",
    ("Layer", "out_features"): "write units",
    ("Layer", "dtype"): "give it to the model, which has one dtype",
    ("Layer", "seed"): "give it to the model",
    ("Dense", "bias"): "write use_bias",
    ("Dense", "act"): "write activation",
    ("Dense", "weights"): "call model.set_weights(weights)",
    ("Dense", "init"): "write kernel_initializer",
    ("Dense", "weight_decay"): "write kernel_regularizer=regularizers.L2(...)",
    ("Layer", "activity_regularizer"): "there is kernel_regularizer and bias_regularizer alone",
    ("Layer", "kernel_constraint"): "there are no constraints; kernel_regularizer limits a kernel",
    ("Layer", "bias_constraint"): "there are no constraints; bias_regularizer limits a bias",
    ("Dropout", "p"): "write rate",
    ("Dropout", "noise_shape"): "leave it out: each input is dropped by itself",
    ("Dropout", "inplace"): "leave it out: the program decides where outputs lie",
    ("BatchNormalization", "axis"): "leave it out: each input is normalized over the batch",
    ("LayerNormalization", "axis"): "leave it out: each sample is normalized over its inputs",
    ("Layer", "eps"): "write epsilon",
    ("BatchNormalization", "num_features"): "leave it out: the layer takes it from its input",
    ("LayerNormalization", "normalized_shape"): "leave it out: the layer takes it from its input",
    ("BatchNormalization", "affine"): "write center and scale",
    ("LayerNormalization", "elementwise_affine"): "write center and scale",
    ("BatchNormalization", "track_running_stats"): "leave it out: moving statistics are kept",
    ("Embedding", "num_embeddings"): "write input_dim",
    ("Embedding", "embedding_dim"): "write output_dim",
    ("Embedding", "input_length"): "leave it out: the layer takes it from its input",
    ("Embedding", "mask_zero"): "there are no masks; give fit a sample_weight",
    ("PReLU", "num_parameters"): "write shared=True for one alpha; without it each input has one",
    ("PReLU", "init"): "write alpha_initializer=initializers.Constant(...)",
    ("PReLU", "shared_axes"): "write shared=True for one alpha; without it each input has one",
    ("Layer", "weight"): "read layer.kernel, or layer.parameters",
    ("Layer", "requires_grad"): "set layer.trainable",
    ("Layer", "freeze"): "set layer.trainable = False",
    # Schedules, initializers, metrics, callbacks
    ("Schedule", "optimizer"): "leave it out: give the schedule to the optimizer as learning_rate",
    ("Schedule", "lr"): "write initial_learning_rate",
    ("Schedule", "gamma"): "write decay_rate",
    ("Schedule", "last_epoch"): "write initial_step, the step at which it begins",
    ("StepDecay", "step_size"): "write decay_steps",
    ("CosineDecay", "T_max"): "write decay_steps",
    ("CosineDecay", "eta_min"): "write alpha, the last rate as a part of the first",
    ("CosineDecayRestarts", "T_0"): "write first_decay_steps",
    ("CosineDecayRestarts", "T_mult"): "write t_mul",
    ("OneCycle", "max_lr"): "write max_learning_rate",
    ("PiecewiseConstantDecay", "milestones"): "write boundaries",
    ("Initializer", "seed"): "leave it out: the model's seed decides",
    ("Normal", "std"): "write stddev",
    ("Uniform", "minval"): "write minimum",
    ("Uniform", "maxval"): "write maximum",
    ("Metric", "name"): "leave it out: the key in the history is the metric's label",
    ("Metric", "dtype"): "leave it out: metrics are summed in float64",
    ("TopKAccuracy", "top_k"): "write k",
    ("Callback", "verbose"): "leave it out: fit(verbose=...) shows the results",
    ("Callback", "min_improvement"): "write min_delta",
    ("Callback", "n_iter_no_change"): "write patience",
    ("Callback", "threshold"): "write min_delta",
    ("Callback", "tol"): "write min_delta",
    ("ModelCheckpoint", "save_weights_only"): "leave it out: the file holds the whole model",
    ("ModelCheckpoint", "path"): "write filepath",
    ("ModelCheckpoint", "filename"): "write filepath",
    ("CSVLogger", "filepath"): "write filename",
    ("CSVLogger", "path"): "write filename",
    # Models
    ("Model", "lr"): "set model.optimizer.learning_rate",
    ("Model", "learning_rate"): "set model.optimizer.learning_rate",
    ("Model", "weights"): "use model.parameters, views by name",
    ("Model", "trainable_weights"): "use model.parameters, views by name",
    ("Model", "coefs_"): "use model.parameters, views by name",
    ("Model", "named_parameters"): "use model.parameters.items()",
    ("Model", "state_dict"): "use model.get_weights(), or model.save_weights(path)",
    ("Model", "load_state_dict"): "use model.set_weights(weights), or model.load_weights(path)",
    ("Model", "count_params"): "use model.count_parameters()",
    ("Model", "classes_"): "use model.classes",
    ("Model", "feature_names_in_"): "use model.feature_names",
    ("Model", "fit_generator"): "use fit, which takes generators of batches",
    ("Model", "partial_fit"): "use model.train_on_batch(x, y)",
    ("Model", "predict_on_batch"): "use model.predict(x)",
    ("Model", "predict_proba"): "use model.predict(x); of logits take the softmax",
    ("Model", "test_on_batch"): "use model.evaluate(x, y)",
    ("Model", "score"): "use model.evaluate(x, y)",
    ("Model", "zero_grad"): "leave it out: backward overwrites the gradients",
    ("Model", "step"): "use model.apply_gradients()",
    ("Model", "train"): f"leave it out: fit trains; by hand, {_LOOP}",
    ("Model", "eval"): "leave it out: predict and evaluate never drop or move statistics",
    ("Model", "to"): "leave it out: a model runs on the CPU; its dtype is given to the constructor",
    ("Model", "cpu"): "leave it out: a model runs on the CPU",
    ("Model", "cuda"): "leave it out: a model runs on the CPU",
    ("Model", "double"): "give the constructor dtype='float64'",
    ("Model", "float"): "give the constructor dtype='float32'",
    ("Model", "bfloat16"): "give the constructor dtype='bfloat16', or compile a precision",
    ("Model", "half"): "there is no float16: give the constructor dtype='bfloat16'",
    ("Model", "dtype_policy"): "use model.precision, which compile sets",
    ("Model", "loss"): "use model.evaluate(x, y)['loss'], or history.history['loss']",
    ("Model", "metrics_names"): "use the keys of model.evaluate(x, y)",
    ("Model", "to_json"): "use model.save(path)",
    ("Model", "grad"): "use model.gradients_of(x), or model.backward(..., wrt='inputs')",
    ("Model", "vjp"): "use model.gradients_of(x, output_gradient=...)",
    ("Model", "input_gradients"): "use model.gradients_of(x)",
    ("Model", "compute_gradients"): "use model.gradients_of(x, y, wrt='parameters')",
    ("Model", "soft_update"): "use fastnn.soft_update(target, source, tau)",
    ("Model", "polyak_update"): "use fastnn.soft_update(target, source, tau)",
    ("Model.backward", "retain_graph"): "leave it out: backward may be called several times",
    ("Model.backward", "inputs"): "write wrt='inputs'",
    ("Model.gradients_of", "grad_outputs"): "write output_gradient",
    ("Model.gradients_of", "grad_output"): "write output_gradient",
    ("Model", "get_config"): "use model.save(path)",
    ("Model.fit", "nb_epoch"): "write epochs",
    ("Model.fit", "n_epochs"): "write epochs",
    ("Model.fit", "max_iter"): "write epochs",
    ("Model.fit", "lr"): "give compile an optimizer, Adam(learning_rate)",
    ("Model.fit", "learning_rate"): "give compile an optimizer, Adam(learning_rate)",
    ("Model.fit", "optimizer"): "give it to compile",
    ("Model.fit", "loss"): "give it to compile",
    ("Model.fit", "metrics"): "give it to compile",
    ("Model.fit", "callback"): "write callbacks=[...]",
    ("Model.fit", "gradient_accumulation_steps"): "give it to the optimizer",
    ("Model.fit", "accumulate_grad_batches"): "give the optimizer gradient_accumulation_steps",
    ("Model.fit", "start_epoch"): "write initial_epoch",
    ("Model.fit", "first_epoch"): "write initial_epoch",
    ("Model.fit", "last_epoch"): "write initial_epoch, the number of epochs that are done",
    ("Model.fit", "validation_frequency"): "write validation_freq",
    ("Model.fit", "workers"): "leave it out: an iterable is read by one thread",
    ("Model.fit", "max_queue_size"): "leave it out: an iterable is read ahead as it is",
    ("Model.fit", "use_multiprocessing"): "leave it out: an iterable is read by one thread",
    ("Model.predict", "steps"): _FIRST_BATCHES,
    ("Model.predict", "callbacks"): "leave it out: predict calls no callbacks",
    ("Model.evaluate", "steps"): _FIRST_BATCHES,
    ("Model.evaluate", "callbacks"): "leave it out: evaluate calls no callbacks",
    ("Model.evaluate", "return_dict"): "leave it out: it always returns a dict",
    ("Model.compile", "lr"): "give compile an optimizer, Adam(learning_rate)",
    ("Model.compile", "learning_rate"): "give compile an optimizer, Adam(learning_rate)",
    ("Model.compile", "from_logits"): _FROM_LOGITS.format(link="softmax"),
    ("Model.compile", "metric"): "write metrics=[...]",
    ("Model.compile", "dtype"): "give it to the model, or write precision='mixed_bfloat16'",
    ("Model.compile", "dtype_policy"): "write precision='mixed_bfloat16'",
    ("Model.fit", "precision"): "give it to compile",
    ("Model.predict", "precision"): "give it to compile, or the model dtype='bfloat16'",
    ("Model.compile", "run_eagerly"): "leave it out: a model is always compiled",
    ("Model.compile", "jit_compile"): "leave it out: a model is always compiled",
    ("Model.compile", "steps_per_execution"): "leave it out: an epoch runs natively as a whole",
    ("Model.compile", "auto_scale_loss"): "leave it out: float32 needs no scaling of the loss",
    ("Model.compile", "sample_weight_mode"): "leave it out: give fit sample_weight",
    ("Model.compile", "criterion"): "write loss",
    ("Model.compile", "lr_scheduler"): "give the optimizer a schedule as learning_rate",
    ("Concatenate", "axis"): "leave it out: the last axis is concatenated",
    ("Activation", "axis"): "leave it out: softmax is along the last axis",
    ("Model.train_on_batch", "reset_metrics"): "leave it out: there are no metrics, see evaluate",
    ("Model.train_on_batch", "return_dict"): "leave it out: it returns the loss, a float",
    ("Sequential", "precision"): "give it to compile, or write dtype='bfloat16'",
    ("Sequential", "*"): "give the layers as a list, Sequential([...]), and the rest by name",
    ("Model", "*"): "give the tensors, Model(inputs, outputs); a class of one's own makes them and"
    " calls super().__init__(inputs, outputs)",
    ("Model.fit", "X"): "write x",
    ("Model.fit", "Y"): "write y",
    ("Model.fit", "train_data"): "write x",
    ("Model.fit", "dataset"): "write x",
    ("Model.fit", "generator"): "write x",
    ("Model.fit", "num_epochs"): "write epochs",
    ("Model.fit", "max_epochs"): "write epochs",
    ("Model.fit", "val_data"): "write validation_data",
    ("Model.fit", "eval_set"): "write validation_data",
    ("Model.fit", "validation_fraction"): "write validation_split",
    ("Model.fit", "val_split"): "write validation_split",
    ("Model.fit", "early_stopping"): "write callbacks=[EarlyStopping(...)]",
    ("Model.fit", "weights"): "write sample_weight or class_weight",
    ("Model.fit", "class_weights"): "write class_weight",
    ("Model.fit", "sample_weights"): "write sample_weight",
    ("Model.fit", "classes"): "set model.classes before",
    ("Model.fit", "random_state"): "give the model a seed, Sequential(..., seed=0)",
    ("Model.fit", "seed"): "give the model a seed, Sequential(..., seed=0)",
    ("Model.predict", "X"): "write x",
    ("Model.predict", "training"): "use model.forward(x, training=True)",
    ("Model.evaluate", "X"): "write x",
    (
        "Model.save",
        "overwrite",
    ): "leave it out: an existing file is replaced at once, when complete",
    (
        "Model.save",
        "include_optimizer",
    ): "leave it out, or use save_weights: save keeps the optimizer",
    ("Model.save", "save_format"): "leave it out: the format is safetensors",
    ("Model.save", "filepath"): "write path",
    ("Model.save_weights", "overwrite"): "leave it out: an existing file is replaced at once",
    ("Model.save_weights", "filepath"): "write path",
    ("Model.load_weights", "filepath"): "write path",
    ("Model.load_weights", "by_name"): "leave it out: parameters are always found by their names",
    ("Model.load_weights", "skip_mismatch"): "write strict=False",
    ("Model.summary", "line_length"): "leave it out: lines are as long as they need to be",
    ("Model.summary", "expand_nested"): "leave it out: the layers of parts are always listed",
    ("Model.summary", "show_trainable"): "leave it out, and see layer.trainable",
    ("Optimizer", "ema_overwrite_frequency"): "leave it out: the average takes the parameters'"
    " place when fit ends",
    ("Optimizer", "loss_scale_factor"): "leave it out: float32 needs no scaling of the loss",
    ("Optimizer", "name"): "leave it out: the class names it",
    ("Optimizer", "centered"): "leave it out, or use Adam",
    ("Optimizer", "dampening"): "leave it out: the gradient enters whole, as with 0",
    ("Optimizer", "foreach"): "leave it out: one pass updates all parameters",
    ("Optimizer", "fused"): "leave it out: one pass updates all parameters",
    ("Optimizer", "maximize"): "negate the loss, or give fit negative sample weights",
    ("Optimizer", "rho"): "write beta_1 and beta_2, or, for SGD, momentum",
    ("Loss", "name"): "leave it out: results are called loss, or by the output",
    ("Loss", "ignore_class"): "give fit a sample_weight of 0 for those samples; their label may"
    " then be anything",
    ("Loss", "size_average"): "leave it out: a loss is the mean over the samples",
    ("Loss", "dtype"): "leave it out: losses are summed in float64",
    ("Metric", "from_logits"): "leave it out: metrics know what the loss makes of the outputs",
    ("Metric", "thresholds"): "write threshold",
    ("Metric", "num_classes"): "leave it out: the model's outputs say it",
    ("Metric", "class_id"): "give compile a function of (y_true, y_pred)",
    ("EarlyStopping", "restore_best"): "write restore_best_weights",
    ("EarlyStopping", "delta"): "write min_delta",
    ("ModelCheckpoint", "period"): "leave it out: epochs are saved one by one, or the best",
    ("ModelCheckpoint", "save_top_k"): "write save_best_only=True",
    ("ReduceLROnPlateau", "epsilon"): "write min_delta",
    ("History", "callbacks"): "give them to fit",
    **{key: told for key, told in ATTRIBUTES.items() if key[0] in ("Model", "History")},
}


def plain(name: object) -> str:
    """Return a name without matters of style: capitals, underscores, hyphens."""
    return str(name).lower().replace("_", "").replace("-", "")


def nearest(name: object, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the most similar known name, or None if none is similar.

    Parameters
    ----------
    name : str
    known : iterable of str
    cutoff : float, default 0.6
        How similar the two must be, from 0 to 1.
    """
    import difflib  # here, because `import fastnn` should be quick

    if len(str(name)) > 100:  # it takes the square of the length
        return None
    names = {plain(one): one for one in sorted(known)}
    wanted = plain(ELSEWHERE.get(plain(name), name))
    close = difflib.get_close_matches(wanted, names, n=1, cutoff=cutoff)
    return names[close[0]] if close else None


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return "; did you mean 'adam'?" for the most similar known name, or "" if there is none."""
    close = nearest(name, known)
    return f"; did you mean {close!r}?" if close else ""


def unknown_name(argument: str, name: object, known: Iterable[str]) -> ValueError:
    """Return the error for a name that is not in a table.

    Parameters
    ----------
    argument : str
        The argument that it was given for.
    name : object
        What came.
    known : iterable of str
        What was expected.

    Returns
    -------
    ValueError
    """
    names = sorted(known)
    hint = did_you_mean(name, names)
    return ValueError(f"unknown {argument} {name!r}{hint} (there are {', '.join(names)})")


def advice(owner: type | str, name: str) -> str | None:
    """Return what to write instead of another library's name, or None.

    Parameters
    ----------
    owner : type or str
        A class, or "Class.method".
    name : str
        Name of the argument or attribute.
    """
    return next((ADVICE[key, name] for key in _keys(owner) if (key, name) in ADVICE), None)


def told_of_attribute(owner: type, name: str) -> str | None:
    """Return what to use instead of an attribute of another library, or None.

    Parameters
    ----------
    owner : type
    name : str
        The attribute that was to be read.
    """
    found = (ATTRIBUTES[key, name] for key in _keys(owner) if (key, name) in ATTRIBUTES)
    return next(found, None) or advice(owner, name)


def missing_name(module: str, name: str, known: Iterable[str]) -> AttributeError:
    """Return the error for a name that a module does not have.

    Parameters
    ----------
    module : str
        "fastnn", which answers for the modules below it too, or "fastnn.losses".
    name : str
        What came.
    known : iterable of str
        The names that there are.

    Returns
    -------
    AttributeError

    Examples
    --------
    >>> from fastnn.core import hints
    >>> print(hints.missing_name("fastnn", "Linear", ["Dense"]))
    module 'fastnn' has no attribute 'Linear': write Dense(units)
    """
    rows = (row for row in IN_MODULES if row == (module, name))
    if module == "fastnn":
        rows = (row for row in IN_MODULES if row[1] == name)
    told = next((IN_MODULES[row] for row in rows), None)
    hint = did_you_mean(name, known) if told is None else f": {told}"
    return AttributeError(f"module {module!r} has no attribute {name!r}{hint}")


def of_module(module: str, known: Iterable[str]) -> Callable[[str], Any]:
    """Return a module's ``__getattr__``, which explains what it has instead of a name.

    Parameters
    ----------
    module : str
        Its ``__name__``.
    known : iterable of str
        Its ``__all__``.
    """

    def __getattr__(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        raise missing_name(module, name, known)

    return __getattr__


def unexpected_argument(owner: type | str, name: str, known: Iterable[str]) -> TypeError:
    """Return the error for an argument that a constructor or a method does not have.

    Parameters
    ----------
    owner : type or str
        A class, or "Class.method".
    name : str
        What came.
    known : iterable of str
        The existing arguments.

    Returns
    -------
    TypeError

    Examples
    --------
    >>> from fastnn.core import hints
    >>> print(hints.unexpected_argument("Model.predict", "callbacks", ["x", "batch_size"]))
    ... # doctest: +NORMALIZE_WHITESPACE
    Model.predict() got an unexpected keyword argument 'callbacks': leave it out: predict calls no
    callbacks (its arguments are x, batch_size)
    """
    names = list(known)
    there = f"its arguments are {', '.join(names)}" if names else "it takes no arguments"
    return TypeError(
        f"{_called(owner)}() got an unexpected keyword argument {name!r}"
        f"{_hint(owner, name, names)} ({there})"
    )


def explains_arguments(*exceptions: str) -> Callable[[T], T]:
    """Return a class decorator that adds a hint to the error for an unexpected argument.

    Parameters
    ----------
    *exceptions : str
        Methods to leave unchanged, because an additional call would take too much of their time.
    """

    def explain(cls: T) -> T:
        for name, method in list(vars(cls).items()):
            is_public = name == "__init__" or not name.startswith("_")
            if is_public and name not in exceptions and inspect.isfunction(method):
                setattr(cls, name, _explaining(method))
        return cls

    return explain


def _explaining(method: FunctionType) -> Callable[..., Any]:
    """Return a function that does the same after checking the names of the arguments."""
    code = method.__code__
    arguments = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    owner, name = method.__qualname__.split(".")
    called = owner if name == "__init__" else f"Model.{name}"

    required = arguments[: code.co_argcount - 1 - len(method.__defaults__ or ())]

    def check_required(args: tuple, kwargs: dict[str, Any]) -> None:
        missing = [one for one in required[len(args) :] if one not in kwargs]
        if missing:
            told = advice(called, "*")
            hint = "" if told is None else f": {told}"
            raise TypeError(f"{called}() is missing {', '.join(missing)}{hint}")

    @functools.wraps(method)
    def call(self: object, *args: Any, **kwargs: Any) -> Any:
        for given in kwargs:
            if given not in arguments:
                raise unexpected_argument(called, given, arguments)
        if len(args) >= code.co_argcount:
            names = arguments[: code.co_argcount - 1]
            told = advice(called, "*")
            hint = "" if told is None else f": {told}"
            most = f"at most {len(names)} ({', '.join(names)})" if names else "none"
            raise TypeError(
                f"{called}() got {len(args)} positional arguments, it takes {most}{hint}"
            )
        if len(args) + len(kwargs) < len(required):
            check_required(args, kwargs)
        return method(self, *args, **kwargs)

    return call


def missing_attribute(owner: type | str, name: str, known: Iterable[str]) -> AttributeError:
    """Return the error for reading or setting an attribute that does not exist.

    Parameters
    ----------
    owner : type or str
        A class.
    name : str
        What came.
    known : iterable of str
        The attributes that may have been meant.

    Returns
    -------
    AttributeError

    Examples
    --------
    >>> from fastnn.core import hints
    >>> print(hints.missing_attribute("Model", "trainble", ["summary", "layers"]))
    Model has no attribute 'trainble'
    >>> print(hints.missing_attribute("Model", "score", ["summary", "layers"]))
    Model has no attribute 'score': use model.evaluate(x, y)
    """
    return AttributeError(
        f"{_called(owner)} has no attribute {name!r}{_hint(owner, name, list(known))}"
    )


def check_methods(cls: type) -> None:
    """Raise TypeError if a user's class defines a method that other libraries call, but not this.

    Parameters
    ----------
    cls : type
        Classes of this package are not looked at.
    """
    if cls.__module__.partition(".")[0] == "fastnn":
        return
    for name, value in vars(cls).items():
        keys = ((key, name) for key in _keys(cls) if (key, name) in NEVER_CALLED)
        told = next((NEVER_CALLED[key] for key in keys), None)
        if told is not None and callable(value):
            raise TypeError(f"{cls.__name__}.{name} is never called: {told}")


def _hint(owner: type | str, name: str, known: list[str]) -> str:
    told = advice(owner, name)
    return did_you_mean(name, known) if told is None else f": {told}"


def _called(owner: type | str) -> str:
    return owner if isinstance(owner, str) else owner.__name__


def _keys(owner: type | str) -> Iterator[str]:
    """Yield the names under which the table may list a class."""
    if isinstance(owner, str):
        yield owner
    else:
        yield from (cls.__name__ for cls in owner.__mro__)
