"""Probabilities that mean what they say, and thresholds and intervals from held-out rows."""

from __future__ import annotations

import numpy as np

from fastnn.tabular.scores import Score

LOWEST, HIGHEST = 0.05, 20.0  # temperatures


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return the softmax of the logarithms of probabilities, divided by a temperature.

    Examples
    --------
    >>> tempered(np.array([[0.8, 0.2]]), 2.0).round(3).tolist()
    [[0.667, 0.333]]
    """
    tiny = np.finfo(probabilities.dtype).tiny
    logits = np.log(np.maximum(probabilities, tiny)) / probabilities.dtype.type(temperature)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def best_temperature(
    probabilities: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None
) -> float:
    """Return the temperature that minimizes the log loss (Guo et al. 2017) of smoothed labels.

    Parameters
    ----------
    probabilities : ndarray, shape (rows, classes)
        Of rows that were not trained on.
    labels : ndarray of int, shape (rows,)
    weight : ndarray, shape (rows,), optional

    Returns
    -------
    float
        In [0.05, 20].

    Notes
    -----
    A label counts n / (n + 1) as it is, and the rest as all classes alike, n the number of rows.
    Where every row is predicted right, the log loss alone is least at temperature 0, and then the
    first row that is predicted wrong costs more than all others gain.

    Examples
    --------
    >>> sure = np.array([[0.99, 0.01]] * 10)
    >>> best_temperature(sure, np.array([0] * 8 + [1] * 2)).__round__(2)
    3.75
    """
    if weight is not None and not weight.any():
        weight = None
    logits = np.log(np.maximum(probabilities.astype(np.float64), 1e-30))
    chosen = np.arange(len(labels)), labels
    doubt = 1 / (len(labels) + 1)

    def loss(log_temperature: float) -> float:
        scaled = logits * np.exp(-log_temperature)
        most = scaled.max(axis=1)
        total = most + np.log(np.exp(scaled - most[:, np.newaxis]).sum(axis=1))
        expected = (1 - doubt) * scaled[chosen] + doubt * scaled.mean(axis=1)
        return float(np.average(total - expected, weights=weight))

    # The loss is convex in 1 / temperature, so it has one minimum; golden section finds it.
    low, high = np.log(LOWEST), np.log(HIGHEST)
    ratio = (np.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = loss(left), loss(right)
    for _ in range(40):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = loss(right)
    return float(np.exp((low + high) / 2))


def best_threshold(
    probabilities: np.ndarray,
    labels: np.ndarray,
    score: Score,
    weight: np.ndarray | None = None,
) -> float:
    """Return the probability of the second class from which it is to be predicted.

    Parameters
    ----------
    probabilities : ndarray, shape (rows, 2)
        Of rows that were not trained on.
    labels : ndarray of int, shape (rows,)
    score : Score
        One of decisions.
    weight : ndarray, shape (rows,), optional

    Returns
    -------
    float
        The middle between two neighbouring probabilities, of equally good ones the nearest to 0.5.

    Examples
    --------
    >>> from fastnn.tabular import scores
    >>> yes = np.array([0.1, 0.2, 0.3, 0.4])
    >>> labels = np.array([0, 0, 1, 1])
    >>> best_threshold(np.stack([1 - yes, yes], axis=1), labels, scores.SCORES["accuracy"])
    0.25
    """
    yes = np.unique(probabilities[:, 1])
    middles = (yes[1:] + yes[:-1]) / 2
    if len(middles) > 199:
        middles = np.unique(np.quantile(middles, np.linspace(0, 1, 199)))
    candidates = [0.5, *middles.tolist()]
    if weight is not None and not weight.any():
        weight = None
    losses = np.array(
        [score.loss(labels, decided(probabilities, one), weight) for one in candidates]
    )
    best = np.flatnonzero(losses == losses.min())
    return float(candidates[min(best, key=lambda i: abs(candidates[i] - 0.5))])


def decided(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """Return 1 for the class that is predicted, and 0 for the other.

    Parameters
    ----------
    probabilities : ndarray, shape (rows, 2)
    threshold : float
        The probability from which the second class is predicted.

    Returns
    -------
    ndarray of float32, shape (rows, 2)

    Examples
    --------
    >>> decided(np.array([[0.7, 0.3], [0.9, 0.1]]), 0.3).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    yes = probabilities[:, 1] >= threshold
    return np.stack([~yes, yes], axis=1).astype(np.float32)
