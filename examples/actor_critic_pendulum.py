"""An actor and a critic (DDPG, Lillicrap et al. 2016): swing up a pendulum and hold it there.

The physics, limits and rewards are those of Gymnasium's Pendulum-v1, in NumPy, for many pendulums
at once. The motor is too weak to lift the pendulum directly. The critic learns what an action is
worth in a state; the actor follows the derivative of that worth with respect to the action, which
`gradients_of` returns, in a loop of its own: `forward`, `backward`, `apply_gradients`. Both have a
second version that follows slowly (`soft_update`), for the critic's targets. The task counts as
solved when twenty new pendulums return -200 on average; one that hangs down returns about -1,600.
"""

import copy
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fastnn as fnn
from fastnn import plots

GRAVITY, SECONDS, FASTEST, TORQUE, LONGEST, SOLVED = 10.0, 0.05, 8.0, 2.0, 200, -200
PENDULUMS, BATCH, DISCOUNT, TAU, NOISE, SCALE = 8, 64, 0.98, 0.02, 0.2, 0.1
ROUNDS, RANDOM, UPDATES, TEST_EVERY, SEEDS = 2000, 100, 2, 100, 3


def start(generator, pendulums):
    """Return angles (0 is upright) and angular speeds, shape (pendulums, 2)."""
    return generator.uniform([-np.pi, -1], [np.pi, 1], (pendulums, 2))


def seen(states):
    """Return what the networks see: cosine and sine of the angle, and the speed."""
    angle, speed = states.T
    return np.stack([np.cos(angle), np.sin(angle), speed / FASTEST], axis=1).astype("float32")


def move(states, actions):
    """Return the states 50 ms later, and rewards, for actions in [-1, 1], shape (pendulums, 1)."""
    angle, speed = states.T
    torque = TORQUE * actions[:, 0]
    from_upright = (angle + np.pi) % (2 * np.pi) - np.pi
    rewards = -(from_upright**2 + 0.1 * speed**2 + 0.001 * torque**2)
    faster = speed + (1.5 * GRAVITY * np.sin(angle) + 3 * torque) * SECONDS
    faster = np.clip(faster, -FASTEST, FASTEST)
    return np.stack([angle + faster * SECONDS, faster], axis=1), rewards


def returns_of(actor, pendulums=20):
    """Return the mean sum of rewards of new pendulums if the actor decides."""
    states, total = start(np.random.default_rng(99), pendulums), 0.0
    for _ in range(LONGEST):
        states, rewards = move(states, actor.predict(seen(states)))
        total += rewards.mean()
    return total


def learn(seed):
    """Train until the task is solved; return the moves made and the returns of the tests."""
    generator = np.random.default_rng(seed)
    hidden = [fnn.Dense(64, "relu"), fnn.Dense(64, "relu")]
    actor = fnn.Sequential([*hidden, fnn.Dense(1, "tanh")], input_shape=(3,), seed=seed)
    actor.compile(fnn.Adam(1e-3))
    hidden = [fnn.Dense(64, "relu"), fnn.Dense(64, "relu")]
    critic = fnn.Sequential([*hidden, fnn.Dense(1)], input_shape=(4,), seed=seed)
    critic.compile(fnn.Adam(2e-3), "mse")
    slow_actor, slow_critic = copy.deepcopy(actor), copy.deepcopy(critic)

    count = ROUNDS * PENDULUMS
    before, after = np.zeros((2, count, 3), "float32")
    acted, rewarded = np.zeros((2, count, 1), "float32")
    states = start(generator, PENDULUMS)
    moves, returns = [0], [returns_of(actor)]
    for number in range(ROUNDS):
        if number % LONGEST == 0:
            states = start(generator, PENDULUMS)
        places = slice(number * PENDULUMS, (number + 1) * PENDULUMS)
        before[places] = seen(states)
        noise = NOISE * generator.normal(size=(PENDULUMS, 1))
        actions = np.clip(actor.predict(before[places]) + noise, -1, 1)
        if number < RANDOM:
            actions = generator.uniform(-1, 1, (PENDULUMS, 1))
        states, rewards = move(states, actions)
        acted[places], rewarded[places, 0] = actions, SCALE * rewards
        after[places] = seen(states)
        if number < RANDOM:
            continue

        for _ in range(UPDATES):
            rows = generator.integers(0, places.stop, BATCH)
            then = np.concatenate([after[rows], slow_actor.predict(after[rows])], axis=1)
            targets = rewarded[rows] + DISCOUNT * slow_critic.predict(then)
            now = np.concatenate([before[rows], acted[rows]], axis=1)
            critic.train_on_batch(now, targets)

            now[:, 3:] = actor.forward(before[rows], training=True)
            by_action = critic.gradients_of(now)[:, 3:]  # of each row's value
            actor.backward(-by_action / BATCH)  # uphill
            actor.apply_gradients()
            fnn.soft_update(slow_actor, actor, TAU)
            fnn.soft_update(slow_critic, critic, TAU)

        if (number + 1) % TEST_EVERY == 0:
            moves.append(places.stop)
            returns.append(returns_of(actor))
            if returns[-1] >= SOLVED:
                break
    return moves, returns


curves = [learn(seed) for seed in range(SEEDS)]
for seed, (moves, returns) in enumerate(curves):
    word = "solved" if returns[-1] >= SOLVED else "not solved"
    print(f"seed {seed}: {word} after {moves[-1]:,} moves, return {returns[-1]:.0f}")

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
for seed, (moves, returns) in enumerate(curves):
    ax.plot(moves, returns, **plots.style.curve(seed), label=f"seed {seed}")
    ax.plot(moves[-1], returns[-1], plots.style.marker(seed), color=plots.style.color(seed))
ax.axhline(SOLVED, color="0.5", linewidth=1)
ax.text(0, SOLVED + 20, "solved", color="0.35", va="bottom")
plots.style.finish(ax, xlabel="moves", ylabel="return (mean of 20 new pendulums)", ylim=(None, 0))
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
figure.savefig(Path(*sys.argv[1:2], "actor_critic_pendulum.png"), dpi=96)
