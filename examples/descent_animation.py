"""An animated descent: fitting visitors = a * advertising, step by step, as a GIF.

The mean squared error is a parabola in a. From a = -4 the first steps are long, because the slope
is steep; they get shorter near the minimum, although the learning rate does not change.
"""

import sys
from pathlib import Path

import fastnn as fnn

walk = fnn.descent.minimize(
    fnn.descent.functions.advertising, -4.0, optimizer=fnn.GradientDescent(0.001), steps=50
)
for step in (0, 1, 10, 50):
    print(f"step {step:2}: a = {walk.path[step]:.4f}, mean squared error {walk.values[step]:.4f}")
walk.animate(Path(*sys.argv[1:2], "descent_animation.gif"), fps=10)
