"""The result of a diagnosis."""

from __future__ import annotations

from dataclasses import dataclass


class DiagnosisWarning(UserWarning):
    """Issued by the callback `Diagnose` for a network that does not learn during training."""


@dataclass(frozen=True)
class Finding:
    """One reason why a model may not learn.

    Attributes
    ----------
    problem : str
        "lost weights", "dead units", "saturated units", "identical units", "vanishing
        gradient", "exploding gradient", "learning rate too high", "learning rate too low",
        "plateau", "batches of one row", "unscaled inputs", "unscaled targets", "constant
        targets", "targets out of reach" or "squashed logits".
    layer : str
        Name of the layer; "" if the problem does not concern a single layer.
    figure : float
        The number that shows the problem; `shown` expresses it in words.
    shown : str
    advice : str
        What to try.
    """

    problem: str
    layer: str
    figure: float
    shown: str
    advice: str

    def __str__(self) -> str:
        where = f" in layer {self.layer!r}" if self.layer else ""
        return f"{self.problem}{where}: {self.shown}. Try {self.advice}"


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What `Model.diagnose` returns; shown as text.

    Attributes
    ----------
    findings : tuple of Finding
        Data first, then layers and gradients, then the learning rate; empty if all is well.
    rows : int
        Number of rows that were examined.
    """

    findings: tuple[Finding, ...]
    rows: int

    def __repr__(self) -> str:
        if not self.findings:
            return f"nothing found that would keep the model from learning ({self.rows} rows)"
        lines = [f"{number}. {finding}" for number, finding in enumerate(self.findings, 1)]
        return "\n".join(lines)
