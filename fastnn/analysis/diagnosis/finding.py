"""What a diagnosis says."""

from __future__ import annotations

from dataclasses import dataclass


class DiagnosisWarning(UserWarning):
    """A network that does not learn, as the callback `Diagnose` has found while it was trained."""


@dataclass(frozen=True)
class Finding:
    """One reason why a model may not learn.

    Attributes
    ----------
    problem : str
        "lost weights", "dead units", "saturated units", "identical units", "vanishing
        gradient", "exploding gradient", "learning rate too high", "learning rate too low",
        "plateau", "unscaled inputs", "unscaled targets", "constant targets", "targets out of
        reach" or "squashed logits".
    layer : str
        Name of the layer; "" where it is not a matter of one.
    figure : float
        The number that shows it, which `shown` says in words.
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
        How many were looked at.
    """

    findings: tuple[Finding, ...]
    rows: int

    def __repr__(self) -> str:
        if not self.findings:
            return f"nothing found that would keep the model from learning ({self.rows} rows)"
        lines = [f"{number}. {finding}" for number, finding in enumerate(self.findings, 1)]
        return "\n".join(lines)
