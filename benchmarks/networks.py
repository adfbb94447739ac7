"""The six networks on which fastnn is measured: `NETWORKS`. Hidden layers end in relu."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """A network and how it is trained.

    Attributes
    ----------
    sizes : tuple of int
        Inputs, units of each hidden layer, outputs.
    batch : int
        Samples per step.
    loss : {"mse", "crossentropy"}
    steps : int
        Steps per epoch: enough for the start of an epoch not to matter, few enough that the
        widest network leaves time for the others.
    """

    sizes: tuple[int, ...]
    batch: int
    loss: str
    steps: int = 64

    def __str__(self) -> str:
        return "-".join(map(str, self.sizes))

    @property
    def rows(self) -> int:
        """Samples of an epoch."""
        return self.steps * self.batch


NETWORKS = (
    Network((4, 64, 64, 2), 32, "mse"),
    Network((32, 128, 64, 1), 256, "mse"),
    Network((64, 128, 10), 64, "crossentropy"),
    Network((784, 128, 10), 32, "crossentropy"),
    Network((784, 512, 512, 10), 128, "crossentropy", steps=16),
    Network((1024, 2048, 2048, 1000), 256, "crossentropy", steps=2),
)
