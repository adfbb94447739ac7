"""A callback that lets validation and other callbacks see the average of the parameters."""

from __future__ import annotations

from fastnn.callbacks.base import Callback
from fastnn.core.declare import boolean
from fastnn.network import network_of


class SwapEMAWeights(Callback):
    """Let validation see the moving average of an optimizer with ``use_ema=True``.

    `fit` ends with the average in the place of the parameters, but until then validation sees the
    parameters that are trained. With this callback it sees the average: at the end of each epoch
    the two are swapped, and swapped back before training goes on. `EarlyStopping` that restores
    weights has the same effect by itself, since it would otherwise discard the average.

    Parameters
    ----------
    swap_on_epoch : bool, default False
        Whether other callbacks see the average at the end of an epoch, too: `ModelCheckpoint` then
        saves it. Without it, only validation does.

    Raises
    ------
    ValueError
        When `fit` begins: the optimizer does not keep an average.

    Examples
    --------
    >>> import fastnn as fnn
    >>> x, y = fnn.datasets.load_digits()
    >>> model = fnn.Sequential([fnn.Dense(10)], input_shape=(64,), seed=0)
    >>> model.compile(fnn.Adam(0.01, use_ema=True), "crossentropy")
    >>> history = model.fit(x / 16, y, epochs=2, verbose=0, validation_split=0.5,
    ...                     callbacks=[fnn.SwapEMAWeights()])
    >>> model.evaluate(x[898:] / 16, y[898:])["loss"] == history.history["val_loss"][-1]
    True
    """

    _is_open = False
    added_results = ()

    swap_on_epoch: bool = boolean(default=False)

    def check(self) -> None:
        """Check that the optimizer keeps an average."""
        network = network_of(self.model)
        if "average" not in network.runtime.slots:
            raise ValueError(
                f"SwapEMAWeights needs an optimizer with use_ema=True, got {network.optimizer!r}"
            )

    @property
    def average_seen_by(self) -> tuple[str, ...]:
        """Validation, and other callbacks with `swap_on_epoch`."""
        return ("validation", "callbacks") if self.swap_on_epoch else ("validation",)
