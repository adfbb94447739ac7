"""What the examples' texts and pictures claim, checked by the numbers that they print."""

from __future__ import annotations

import re

import numpy as np


def _numbers(pattern: str, text: str) -> list[list[float]]:
    """Return the numbers of each line that fits."""
    found = [match.groups() for match in re.finditer(pattern, text)]
    assert found, pattern
    return [[float(number.replace(",", "")) for number in groups] for groups in found]


def _transfer(said):
    found = _numbers(r"(\d+) labeled .*: ([\d.]+)% first layer .*, ([\d.]+)% from scratch", said)
    assert [count for count, *_ in found] == [50, 100, 200, 400]
    assert all(reused > scratch + 2 for _, reused, scratch in found)
    # How many times as many pictures does the network from scratch need for the same accuracy?
    counts, reused, scratch = (np.array(column) for column in zip(*found, strict=True))
    needed = np.exp(np.interp(reused[:3], scratch, np.log(counts)))
    assert np.all(needed > 1.4 * counts[:3])
    assert np.all(needed < 2.5 * counts[:3])


def _autoencoder(said):
    (ours,), (linear,), (mean,) = (
        _numbers(rf"{name}: (0\.\d+)", said)[0]
        for name in ("held-out pixel", "principal components", "mean picture")
    )
    assert ours < 0.7 * linear < 0.7 * mean
    assert _numbers(r"same one for ([\d.]+)%", said)[0][0] > 75


def _gan_ring(said):
    assert _numbers(r"([\d.]+)% of the points", said)[0][0] > 75
    (line,) = re.findall("eight clusters: (.*)", said)
    shares = [share for (share,) in _numbers(r"([\d.]+)%", line)]
    assert len(shares) == 8
    assert min(shares) > 4, "an even share is 12.5"


def _dqn_cartpole(said):
    found = _numbers(r"seed \d: solved after ([\d,]+) moves, ([\d.]+) steps", said)
    # Rounding differs between instruction sets, and one seed in ten needs longer than the example.
    assert len(found) >= 3
    assert all(moves <= 40_000 and 475 <= upright <= 500 for moves, upright in found)


def _actor_critic_pendulum(said):
    found = _numbers(r"seed \d: solved after ([\d,]+) moves, return (-\d+)", said)
    assert len(found) == 3
    assert all(moves < 16_000 and total >= -200 for moves, total in found)


def _side_by_side(said):
    assert "the same bits either way" in said
    (alone,), (together,) = (_numbers(rf"{way}: ([\d.]+) s", said)[0] for way in ("other", "side"))
    assert alone > 0 < together
    assert _numbers(r"digits: ([\d.]+)% to", said)[0][0] > 95


CLAIMS = {
    "actor_critic_pendulum": _actor_critic_pendulum, "autoencoder": _autoencoder,
    "dqn_cartpole": _dqn_cartpole, "gan_ring": _gan_ring, "side_by_side": _side_by_side,
    "transfer": _transfer,
}  # fmt: skip
