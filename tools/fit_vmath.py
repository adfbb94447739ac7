"""Derive the constants and polynomials of ``src_c/vmath.h`` and print them as C.

Each row of `fits` names a function that the header evaluates by Horner's rule, the interval,
and a weight. The fit is the weighted minimax polynomial: the weight turns an error of the
polynomial into a relative error of the function that the header computes, so the printed
errors are in units of that result, and half a unit in the last place is ``2**-24`` in float32
and ``2**-53`` in float64. The degrees are chosen to leave a margin of a few bits below that,
which is why rounding the coefficients afterwards has no noticeable cost.

Run it with ``python tools/fit_vmath.py`` (needs mpmath; takes a few seconds).

Notes
-----
Remez' second algorithm [1]_: solve for coefficients and level error on a reference of
``degree + 2`` points, move the reference to the extrema of the error, repeat. All computations
use 100 decimal digits: the fitted quotients cancel near 0, and the systems are near singular.

References
----------
.. [1] E. Ya. Remez, "Sur le calcul effectif des polynômes d'approximation de
   Tchebichef", C. R. Acad. Sci. Paris 199 (1934).
"""

import struct
import textwrap
from typing import NamedTuple

import mpmath as mp

mp.mp.dps = 100

LN2 = mp.log(2)
# The reduced argument 1 + f of a logarithm lies between 3/4 and 3/2; |t| of `log_reduced` is
# largest at the upper end.
LOG_LOW, LOG_HIGH = mp.mpf("-0.25"), mp.mpf("0.5")
# Where erf changes from a polynomial in x**2 to 1 - exp(log(erfc)), and where it reaches 1.
# vmath.h contains the same numbers.
ERF_SPLIT = mp.mpf(1)
ERF_ONE = {"float32": mp.mpf(4), "float64": mp.mpf(6)}
# Mills' ratio is a polynomial in (t - center) / (t + center), up to where the density vanishes.
MILLS_CENTER = {"float32": mp.mpf(3), "float64": mp.mpf(5)}
MILLS_LAST = {"float32": mp.mpf("14.4"), "float64": mp.mpf("38.6")}

DEGREES = {
    "float32": {
        "expm1": 4, "log": 7, "log1p_unit": 3, "tanh": 4, "erf_near": 6, "erf_tail": 6, "mills": 9,
        "sin_turns": 4,
    },
    "float64": {
        "expm1": 9, "log": 6, "log1p_unit": 9, "tanh": 9, "erf_near": 11, "erf_tail": 18,
        "mills": 22, "sin_turns": 8,
    },
}  # fmt: skip


class Fit(NamedTuple):
    """A `function` on [`low`, `high`], and the `weight` of its error, all in one variable."""

    low: mp.mpf
    high: mp.mpf
    function: object
    weight: object


def log_reduced(high):
    """R(z) of log(1 + f) = t + t * z * R(z), t = f / (1 + f / 2), z = t**2, for f up to `high`."""

    def function(z):
        t = mp.sqrt(z)
        return (2 * mp.atanh(t / 2) / t - 1) / z

    return Fit(mp.mpf("1e-12"), (high / (1 + high / 2)) ** 2, function, lambda z: z)


def of_square(high, function, weight):
    """Fit an even function of x in the variable x**2, for x up to `high`."""
    return Fit(mp.mpf("1e-12"), high**2,
               lambda z: function(mp.sqrt(z)), lambda z: weight(mp.sqrt(z)))  # fmt: skip


def mills(center, last):
    """(1 - Phi(t)) / phi(t) of the normal distribution for t from 0 to `last`."""

    def function(s):
        t = center * (1 + s) / (1 - s)
        return mp.sqrt(mp.pi / 2) * mp.exp(t * t / 2) * mp.erfc(t / mp.sqrt(2))

    end = (last - center) / (last + center)
    return Fit(mp.mpf(-1), end, function, lambda s: 1 / function(s))


def fits(dtype):
    """Return every polynomial of one dtype, by name; the header says what each is for."""
    edge = LN2 / 2 * mp.mpf("1.001")  # x / ln 2 may be rounded slightly off the middle
    log_single = Fit(LOG_LOW, LOG_HIGH,
                     lambda f: (mp.log1p(f) - f) / f**2,
                     lambda f: f**2 / abs(mp.log1p(f)))  # fmt: skip
    return {
        "expm1": Fit(-edge, edge, lambda r: (mp.expm1(r) - r) / r**2,
                     lambda r: r**2 / abs(mp.expm1(r))),
        "log": log_single if dtype == "float32" else log_reduced(LOG_HIGH),
        "log1p_unit": log_reduced(mp.mpf(1)),
        "tanh": Fit(-edge / 2, edge / 2, lambda r: (mp.expm1(2 * r) / 2 - r) / r**2,
                    lambda r: 2 * r**2 / abs(mp.expm1(2 * r))),
        "erf_near": of_square(ERF_SPLIT, lambda x: mp.erf(x) / x - 1, lambda x: x / mp.erf(x)),
        "erf_tail": Fit(mp.mpf(0), ERF_ONE[dtype] - ERF_SPLIT,
                        lambda t: mp.log(mp.erfc(ERF_SPLIT + t)),
                        lambda t: mp.erfc(ERF_SPLIT + t) / mp.erf(ERF_SPLIT + t)),
        "mills": mills(MILLS_CENTER[dtype], MILLS_LAST[dtype]),
        "sin_turns": of_square(mp.mpf("0.25"), lambda t: mp.sin(2 * mp.pi * t) / t,
                               lambda t: t / mp.sin(2 * mp.pi * t)),
    }  # fmt: skip


def remez(fit, degree, rounds=8):
    """Return the coefficients, lowest power first, and their weighted error."""
    count = degree + 2
    points = 24 * count
    middle, half = (fit.low + fit.high) / 2, (fit.high - fit.low) / 2
    # The odd shift keeps the grid away from 0, where quotients are undefined and weights vanish.
    angles = [mp.pi * (i + mp.mpf("0.137")) / points for i in range(points)]
    grid = [fit.low, *(middle - half * mp.cos(angle) for angle in angles), fit.high]
    table = [(x, fit.function(x), fit.weight(x)) for x in grid]
    reference = [table[round(i * (len(table) - 1) / (count - 1))] for i in range(count)]
    for _ in range(rounds):
        rows = [[w * x**k for k in range(count - 1)] for x, _, w in reference]
        matrix = mp.matrix([[*row, (-1) ** i] for i, row in enumerate(rows)])
        *coefficients, _ = mp.lu_solve(matrix, mp.matrix([f * w for _, f, w in reference]))
        errors = [(f - mp.polyval(coefficients[::-1], x)) * w for x, f, w in table]
        extrema = []  # one for each run of equal sign
        for i, error in enumerate(errors):
            if not extrema or (errors[extrema[-1]] > 0) != (error > 0):
                extrema.append(i)
            elif abs(error) > abs(errors[extrema[-1]]):
                extrema[-1] = i
        while len(extrema) > count:
            extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
        if len(extrema) < count:
            break
        reference = [table[i] for i in extrema]
    return coefficients, max(map(abs, errors))


def c_text(value, dtype):
    """Return the shortest decimal that reads back as the rounded coefficient."""
    if dtype == "float64":
        return repr(float(value))
    bits = struct.pack("f", float(value))
    texts = (f"{struct.unpack('f', bits)[0]:.{digits}g}" for digits in range(6, 10))
    return next(text for text in texts if struct.pack("f", float(text)) == bits) + "f"


def main():
    """Print the constants, then each polynomial in both dtypes with its error."""
    for dtype, digits in ("float32", 15), ("float64", 41):
        high = mp.nint(LN2 * 2**digits) / 2**digits
        print(f"/* {dtype}: LN2 {c_text(LN2, dtype)}, LN2_HIGH {float(high).hex()}, "
              f"LN2_LOW {c_text(LN2 - high, dtype)} */")  # fmt: skip
    for name in DEGREES["float32"]:
        lists, errors = [], []
        for dtype, degrees in DEGREES.items():
            coefficients, error = remez(fits(dtype)[name], degrees[name])
            text = ", ".join(c_text(c, dtype) for c in coefficients)
            lists.append("\n     ".join(textwrap.wrap(text, 88)))
            errors.append(f"2**{float(mp.log(error, 2)):.1f}")
        print(f"/* errors {', '.join(errors)} */")
        print(f"COEFFICIENTS({name},\n    ({lists[0]}),\n    ({lists[1]}))")


if __name__ == "__main__":
    main()
