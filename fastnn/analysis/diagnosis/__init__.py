"""`Model.diagnose`: why is it not learning?

Looks at the data, at what the layers give and at the gradients for some rows, and trains copies
of the model for a while, at its learning rate and, where that does not help, at others. What a
network that learns may well show is no finding: thresholds leave room, because a false alarm
costs more trust than a fault that is not named.
"""

from fastnn.analysis.diagnosis.checks import diagnose
from fastnn.analysis.diagnosis.finding import Diagnosis, DiagnosisWarning, Finding

__all__ = ["Diagnosis", "DiagnosisWarning", "Finding", "diagnose"]
