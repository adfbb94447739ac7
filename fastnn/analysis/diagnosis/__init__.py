"""`Model.diagnose`: why is the model not learning?

A diagnosis looks at the data, the layers' outputs and the gradients for some rows, and trains
copies of the model briefly, at its learning rate and, if that does not work, at others. A symptom
that a healthy network may also show is not a finding: thresholds are generous, because a false
alarm costs more trust than a missed fault.
"""

from fastnn.analysis.diagnosis.checks import diagnose
from fastnn.analysis.diagnosis.finding import Diagnosis, DiagnosisWarning, Finding

__all__ = ["Diagnosis", "DiagnosisWarning", "Finding", "diagnose"]
