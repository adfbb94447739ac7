"""Derive the polynomials of ``src_c/vmath.h`` and print them as C.

Each row of `FITS` names a function that the header evaluates by Horner's rule, the
interval, and a weight. The fit is the weighted minimax polynomial: the weight turns an
error of the polynomial into a relative error of the function that the header returns, so
the printed ``error`` is in units of that result, and half a unit in the last place is
``2**-24`` in float32 and ``2**-53`` in float64. The degrees leave a few bits of room below
that, which is why rounding the coefficients afterwards costs nothing that matters.

Run with ``python tools/fit_vmath.py`` (needs mpmath; about a minute). With names as
arguments only those rows are fitted.

Notes
-----
Remez' second algorithm [1]_: solve for coefficients and level error on a reference of
``degree + 2`` points, move the reference to the extrema of the error, repeat. Everything
runs in 60 decimal digits, because the small coefficients of a fit near the rounding error
of float64 are otherwise noise.

References
----------
.. [1] E. Ya. Remez, "Sur le calcul effectif des polynômes d'approximation de
   Tchebichef", C. R. Acad. Sci. Paris 199 (1934).
"""

import struct
import sys
from typing import NamedTuple

import mpmath as mp

mp.mp.dps = 60

LN2 = mp.log(2)
ROOT = mp.sqrt(2)
# Where erf changes from a polynomial in x**2 to 1 - exp(-Q); where it has become 1;. vmath.h holds the same
# numbers.
ERF_SPLIT = mp.mpf(1)
ERF_ONE = {"float32": mp.mpf(4), "float64": mp.mpf(6)}
TANH_SPLIT = mp.mpf("0.6")


class Fit(NamedTuple):
    """One polynomial: `function` on [`low`, `high`], its error scaled by `weight`."""

    name: str
    dtype: str
    degree: int
    low: mp.mpf
    high: mp.mpf
    function: object
    weight: object


def series(function, order):
    """Wrap `function` of x, singular but removable at 0, by `order` digits more near 0."""

    def safe(x):
        with mp.workdps(60 + 12 * order):
            return function(x if x else mp.mpf("1e-12"))

    return safe


def log_reduced(z):
    """R(z) / z of log((1 + s) / (1 - s)) = s * (2 + R(s**2))."""
    s = mp.sqrt(z)
    return (mp.log((1 + s) / (1 - s)) / s - 2) / z


def erf_tail(dtype, degree):
    """-log(erfc), as a function of the distance from ERF_SPLIT."""
    return Fit(
        "erf_tail", dtype, degree, mp.mpf(0), ERF_ONE[dtype] - ERF_SPLIT,
        lambda t: -mp.log(mp.erfc(t + ERF_SPLIT)),
        lambda t: mp.erfc(t + ERF_SPLIT) / mp.erf(t + ERF_SPLIT),
    )  # fmt: skip


def fits(dtype, exp, log, log1p_unit, tanh, erf_near, erf_far):
    """Rows of one dtype; the arguments are degrees."""
    edge = LN2 / 2 * mp.mpf("1.001")  # the rounding of x / ln 2 may miss the middle a little
    root = lambda f: lambda z: f(mp.sqrt(z))  # noqa: E731
    small = mp.mpf("1e-12")
    yield Fit("expm1", dtype, exp, -edge, edge,
              series(lambda r: (mp.expm1(r) - r) / r**2, 2),
              series(lambda r: r**2 / abs(mp.expm1(r)), 0))  # fmt: skip
    if dtype == "float32":
        yield Fit("log", dtype, log, 1 / ROOT - 1, ROOT - 1,
                  series(lambda f: (mp.log1p(f) - f + f**2 / 2) / f**3, 3),
                  series(lambda f: abs(f**3 / mp.log1p(f)), 0))  # fmt: skip
    else:
        yield Fit("log", dtype, log, small, ((ROOT - 1) / (ROOT + 1)) ** 2,
                  log_reduced, lambda z: z / 2)  # fmt: skip
    yield Fit("log1p_unit", dtype, log1p_unit, small, mp.mpf(1) / 9,
              log_reduced, lambda z: z / 2)  # fmt: skip
    yield Fit("tanh", dtype, tanh, small, TANH_SPLIT**2,
              root(lambda x: (mp.tanh(x) / x - 1) / x**2),
              root(lambda x: x**3 / mp.tanh(x)))  # fmt: skip
    yield Fit("erf_near", dtype, erf_near, small, ERF_SPLIT**2,
              root(lambda x: mp.erf(x) / x - 1), root(lambda x: x / mp.erf(x)))  # fmt: skip
    yield erf_tail(dtype, erf_far)


FITS = [
    *fits("float32", exp=4, log=7, log1p_unit=3, tanh=4, erf_near=6, erf_far=6),
    *fits("float64", exp=9, log=6, log1p_unit=9, tanh=10, erf_near=11, erf_far=18),
]


def remez(fit, rounds=8):
    """Coefficients, lowest power first, and the weighted error they leave."""
    count = fit.degree + 2
    middle, half = (fit.low + fit.high) / 2, (fit.high - fit.low) / 2
    # An irrational shift keeps the grid off 0, where some weights vanish.
    at = lambda angle: middle - half * mp.cos(angle)  # noqa: E731
    grid = [at(mp.pi * (i + mp.mpf("0.137")) / (24 * count)) for i in range(24 * count)]
    grid = [fit.low, *grid, fit.high]
    table = [(x, fit.function(x), fit.weight(x)) for x in grid]
    reference = [table[round(i * (len(table) - 1) / (count - 1))] for i in range(count)]
    for _ in range(rounds):
        matrix = mp.matrix(
            [[w * x**k for k in range(count - 1)] + [(-1) ** i] for i, (x, _, w) in enumerate(reference)]
        )
        *coefficients, _ = mp.lu_solve(matrix, mp.matrix([f * w for _, f, w in reference]))
        errors = [(f - mp.polyval(coefficients[::-1], x)) * w for x, f, w in table]
        # One extremum of each run of equal sign.
        extrema = []
        for i, error in enumerate(errors):
            if extrema and (errors[extrema[-1]] > 0) == (error > 0):
                if abs(error) > abs(errors[extrema[-1]]):
                    extrema[-1] = i
            else:
                extrema.append(i)
        while len(extrema) > count:
            extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
        if len(extrema) < count:
            break
        reference = [table[i] for i in extrema]
    return coefficients, max(map(abs, errors))


def c_text(value, dtype):
    """Shortest decimal that reads back as the rounded coefficient."""
    if dtype == "float64":
        return repr(float(value))
    single = struct.unpack("f", struct.pack("f", float(value)))[0]
    return next(text for text in (f"{single:.{n}g}" for n in range(6, 10))
                if struct.pack("f", float(text)) == struct.pack("f", single)) + "f"  # fmt: skip


def main(names):
    for fit in FITS:
        if names and fit.name not in names:
            continue
        coefficients, error = remez(fit)
        print(f"/* {fit.name} {fit.dtype}: error 2**{float(mp.log(error, 2)):.1f} */")
        print(", ".join(c_text(c, fit.dtype) for c in coefficients))


if __name__ == "__main__":
    main(sys.argv[1:])
