"""Q-learning with a network (DQN, Mnih et al. 2015): balance a pole on a cart.

The physics are those of Barto, Sutton and Anderson (1983) with the constants and limits of
Gymnasium's CartPole-v1, in NumPy, for many poles at once. Eight of them fill the replay buffer; the
network learns from 64 transitions that are drawn from it, towards targets by a second network that
is set to the first one every 100 rounds. As in 1983, the only signal is -1 when a pole falls. The
task counts as solved when twenty new poles, without exploration, stay up for 475 steps on average,
of 500 at most. The picture shows how five networks get there; about one seed in ten takes longer
than the 40,000 moves that it gets here.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import plots

GRAVITY, CART, POLE, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
FURTHEST, STEEPEST, LONGEST, SOLVED = 2.4, np.radians(12), 500, 475
POLES, BATCH, CAPACITY, DISCOUNT = 8, 64, 50_000, 0.99
ROUNDS, EXPLORING, TARGET_EVERY, TEST_EVERY, SEEDS = 5000, 600, 100, 100, 5
# Radians are small: without this, the network would hardly see the angle.
SCALES = np.array([1, 1, 8, 1], "float32")


def start(generator, poles):
    """Return states, shape (poles, 4): position, speed, angle and angular speed, nearly at rest."""
    return generator.uniform(-0.05, 0.05, (poles, 4)).astype("float32")


def move(states, actions):
    """Push each cart to the left (0) or right (1); return the states after 20 ms, and who fell."""
    _, speed, angle, spin = states.T
    sine, cosine = np.sin(angle), np.cos(angle)
    push = (np.where(actions == 1, FORCE, -FORCE) + POLE * HALF_LENGTH * spin**2 * sine) / (
        CART + POLE
    )
    spin_change = (GRAVITY * sine - cosine * push) / (
        HALF_LENGTH * (4 / 3 - POLE * cosine**2 / (CART + POLE))
    )
    speed_change = push - POLE * HALF_LENGTH * spin_change * cosine / (CART + POLE)
    changes = np.stack([speed, speed_change, spin, spin_change], axis=1)
    after = (states + SECONDS * changes).astype("float32")
    return after, (abs(after[:, 0]) > FURTHEST) | (abs(after[:, 2]) > STEEPEST)


def steps_upright(network, poles=20):
    """Return how long new poles stay up on average if the network decides."""
    states, up = start(np.random.default_rng(99), poles), np.ones(poles, bool)
    steps = 0
    for _ in range(LONGEST):
        states, fell = move(states, network.predict(SCALES * states).argmax(axis=1))
        up &= ~fell
        steps += up.sum()
        if not up.any():
            break
    return steps / poles


def learn(seed):
    """Train a network until it solves the task; return the moves made and the steps upright."""
    generator = np.random.default_rng(seed)
    layers = [fnn.Dense(64, "relu"), fnn.Dense(64, "relu"), fnn.Dense(2)]
    network = fnn.Sequential(layers, input_shape=(4,), seed=seed)
    network.compile(fnn.Adam(1e-3), "mse")
    target = fnn.clone_model(network)
    target.set_weights(network.get_weights())

    buffer = {
        "state": np.zeros((CAPACITY, 4), "float32"),
        "action": np.zeros(CAPACITY, int),
        "after": np.zeros((CAPACITY, 4), "float32"),
        "goes on": np.zeros(CAPACITY, bool),
    }
    states, ages = start(generator, POLES), np.zeros(POLES, int)
    moves, upright = [0], [steps_upright(network)]
    for number in range(ROUNDS):
        exploration = max(0.05, 1 - number / EXPLORING)
        actions = network.predict(SCALES * states).argmax(axis=1)
        explores = generator.random(POLES) < exploration
        actions = np.where(explores, generator.integers(0, 2, POLES), actions)
        after, fell = move(states, actions)
        places = np.arange(number * POLES, (number + 1) * POLES) % CAPACITY
        kept = SCALES * states, actions, SCALES * after, ~fell
        for name, values in zip(buffer, kept, strict=True):
            buffer[name][places] = values
        ages += 1
        ends = fell | (ages == LONGEST)
        states, ages = np.where(ends[:, None], start(generator, POLES), after), ages * ~ends

        rows = generator.integers(0, min((number + 1) * POLES, CAPACITY), BATCH)
        before, action, after, goes_on = (array[rows] for array in buffer.values())
        # Only the value of the action that was taken gets an error.
        values = network.predict(before)
        best_after = target.predict(after).max(axis=1)
        values[np.arange(BATCH), action] = np.where(goes_on, DISCOUNT * best_after, -1)
        network.train_on_batch(before, values)

        if (number + 1) % TARGET_EVERY == 0:
            target.set_weights(network.get_weights())
        if (number + 1) % TEST_EVERY == 0:
            moves.append((number + 1) * POLES)
            upright.append(steps_upright(network))
            if upright[-1] >= SOLVED:
                break
    return moves, upright


curves = [learn(seed) for seed in range(SEEDS)]
for seed, (moves, upright) in enumerate(curves):
    word = "solved" if upright[-1] >= SOLVED else "not solved"
    print(f"seed {seed}: {word} after {moves[-1]:,} moves, {upright[-1]:.1f} steps upright")

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
for seed, (moves, upright) in enumerate(curves):
    ax.plot(moves, upright, **plots.style.curve(seed), label=f"seed {seed}")
    ax.plot(moves[-1], upright[-1], plots.style.marker(seed), color=plots.style.color(seed))
ax.axhline(SOLVED, color="0.5", linewidth=1)
ax.text(0, SOLVED - 8, "solved", color="0.35", va="top")
plots.style.finish(ax, xlabel="moves", ylabel="steps upright (20 new poles)", ylim=(0, 520))
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
figure.savefig(Path(*sys.argv[1:2], "dqn_cartpole.png"), dpi=96)
