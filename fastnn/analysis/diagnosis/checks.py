"""The checks of a diagnosis, in order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fastnn.analysis.diagnosis import of_data, of_layers, of_rates
from fastnn.analysis.diagnosis.finding import Diagnosis
from fastnn.analysis.diagnosis.patient import Patient
from fastnn.data import AnySource
from fastnn.network import Network


def diagnose(
    network: Network,
    sources: Sequence[AnySource],
    target_types: tuple[str, ...],
    *,
    batch_size: int = 32,
) -> Diagnosis:
    """Find what keeps a model from learning; see `Model.diagnose`.

    Parameters
    ----------
    network : Network
    sources : sequence of Source or Sparse
        Inputs, the target, and sample weights, if any.
    target_types : tuple of {"real", "label", "weight"}
        Types of the sources after the inputs; see `Runtime.bound`.
    batch_size : int, default 32

    Returns
    -------
    Diagnosis

    Raises
    ------
    ValueError
        The model has several outputs.
    """
    names = network.output_names
    if len(names) > 1:
        raise ValueError(
            f"diagnose needs a model with one output, this one has {', '.join(names)}: make a "
            "Model of the same layers with one of them"
        )
    patient = Patient(network, sources, target_types, batch_size)
    with np.errstate(all="ignore"):  # a diverged model contains infinities
        findings = list(of_layers.lost_weights(patient))
        if findings:
            return Diagnosis(tuple(findings), patient.sample[0].rows)
        findings = [*of_data.findings(patient), *of_layers.findings(patient)]
        findings += of_rates.findings(patient, findings)
    return Diagnosis(tuple(findings), patient.sample[0].rows)
