"""Steps of reinforcement learning, compared with eager PyTorch: the same work by both, in turn.

Run it as `python benchmarks/reinforcement.py [THREADS ...]` where both are installed (`make peers`
makes such an environment, .venv-peers). Networks 4-64-64-2 (the critic 4-64-64-1), relu, Adam,
float32:

- a step of DQN: act by one state, store the transition in a replay buffer, learn from 64 that are
  drawn from it, with a target network that is set every 100 steps;
- an update of REINFORCE: one episode of 100 states, with its standardized returns as weights;
- an update of an actor-critic: 64 states, the advantages by the critic, then both learn.

The environment is left out: transitions are random numbers, and the buffer is the same NumPy code
on either side. Actions are given, so that a rounding cannot make the sides differ. PyTorch acts
in `inference_mode`, learns with the fused Adam, and runs at THREADS, by default at one and at all,
each in a process of its own (see `peer_referee.py`); fastnn runs at its defaults. Before anything
is timed, both sides begin with the same weights and must agree on all losses of 50 steps, in
float64 to 1e-9 and in float32 to 1e-5. Prints lines of a Markdown table.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import statistics
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import peer_referee
import timing
from peer_cells import Peer

STATE, HIDDEN, ACTIONS = 4, 64, 2
BATCH, EPISODE, CAPACITY = 64, 100, 10_000
DISCOUNT, RATE, EPSILON = 0.99, 1e-3, 1e-8
TARGET_STEPS = 100  # between two settings of the target network
CHECK_STEPS = 50
TOLERANCES = {"float64": 1e-9, "float32": 1e-5}
BLOCK_SECONDS = 0.01 if timing.QUICK else 0.1
TASKS = ("DQN step", "REINFORCE update", "actor-critic update")
OURS = Peer("fastnn", 0)


def weights_of(outputs: int, seed: int) -> list[np.ndarray]:
    """Return kernels, shape (inputs, units), and biases of a network, in float64."""
    rng = np.random.default_rng(seed)
    sizes = (STATE, HIDDEN, HIDDEN, outputs)
    made = []
    for inputs, units in itertools.pairwise(sizes):
        made.append(rng.uniform(-1, 1, (inputs, units)) / np.sqrt(inputs))
        made.append(np.zeros(units))
    return made


class Replay:
    """The last transitions, in NumPy arrays."""

    def __init__(self, rng: np.random.Generator, dtype: str) -> None:
        self.states = rng.standard_normal((CAPACITY, STATE)).astype(dtype)
        self.actions = rng.integers(0, ACTIONS, CAPACITY)
        self.rewards = rng.standard_normal(CAPACITY).astype(dtype)
        self.next_states = rng.standard_normal((CAPACITY, STATE)).astype(dtype)
        self.goes_on = (rng.random(CAPACITY) < 0.95).astype(dtype)
        self.count = 0

    def store(self, state, action, reward, next_state, goes_on) -> None:
        i = self.count % CAPACITY
        self.states[i], self.actions[i], self.rewards[i] = state, action, reward
        self.next_states[i], self.goes_on[i] = next_state, goes_on
        self.count += 1

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        rows = rng.integers(0, CAPACITY, BATCH)
        return (
            self.states.take(rows, 0), self.actions.take(rows), self.rewards.take(rows),
            self.next_states.take(rows, 0), self.goes_on.take(rows),
        )  # fmt: skip


class Side:
    """What both libraries do; each fills in the methods that use its networks."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.reset()

    def reset(self) -> None:
        """Start from the same weights and numbers."""
        self.rng = np.random.default_rng(0)
        self.replay = Replay(self.rng, self.dtype)
        self.stream = Replay(self.rng, self.dtype)  # what the environment would have returned
        self.build()

    def build(self) -> None:
        """Make networks and optimizers."""
        raise NotImplementedError

    def act(self, state: np.ndarray) -> int:
        """Return the action of the highest value."""
        raise NotImplementedError

    def learn_values(self, states, actions, rewards, next_states, goes_on) -> float:
        """Take a step on the squared error of the chosen actions' values; return the loss."""
        raise NotImplementedError

    def set_target(self) -> None:
        """Set the target network to the one that learns."""
        raise NotImplementedError

    def learn_policy(self, states, actions, weights) -> float:
        """Take a step on the mean of -weight * log probability of the action; return the loss."""
        raise NotImplementedError

    def learn_both(self, states, actions, returns) -> tuple[float, float]:
        """Take a step of the policy, weighted by advantages, and one of the critic."""
        raise NotImplementedError

    def dqn_step(self) -> float:
        i, stream = self.replay.count % CAPACITY, self.stream
        state = stream.states[i]
        self.act(state)
        self.replay.store(
            state, stream.actions[i], stream.rewards[i], stream.next_states[i], stream.goes_on[i]
        )
        if self.replay.count % TARGET_STEPS == 0:
            self.set_target()
        return self.learn_values(*self.replay.sample(self.rng))

    def reinforce_update(self) -> float:
        first = self.rng.integers(0, CAPACITY - EPISODE)
        rows = slice(first, first + EPISODE)
        returns = self.stream.rewards[rows]
        weights = (returns - returns.mean()) / returns.std()
        return self.learn_policy(self.stream.states[rows], self.stream.actions[rows], weights)

    def actor_critic_update(self) -> tuple[float, float]:
        states, actions, returns, *_ = self.stream.sample(self.rng)
        return self.learn_both(states, actions, returns)

    def work(self, task: str) -> Callable[[], Any]:
        """Return the call that is timed."""
        return dict(
            zip(
                TASKS,
                (self.dqn_step, self.reinforce_update, self.actor_critic_update),
                strict=True,
            )
        )[task]


class Fastnn(Side):
    """fastnn, called the way users call it."""

    def build(self):
        import fastnn as fnn

        def network(outputs: int, seed: int, loss: str, **options: Any) -> fnn.Model:
            layers = [fnn.Dense(HIDDEN, "relu"), fnn.Dense(HIDDEN, "relu"), fnn.Dense(outputs)]
            model = fnn.Sequential(layers, input_shape=(STATE,), dtype=self.dtype, seed=0)
            model.set_weights(weights_of(outputs, seed))
            model.compile(fnn.Adam(RATE, epsilon=EPSILON), loss, **options)
            return model

        # The mean is over all values, of which only the chosen actions' differ.
        self.values = network(ACTIONS, 1, "mse", loss_weights=[ACTIONS])
        self.target = fnn.clone_model(self.values)
        self.set_target()
        self.policy = network(ACTIONS, 2, "crossentropy")
        self.critic = network(1, 3, "mse")
        self.every_row = np.arange(BATCH)

    def act(self, state):
        return int(self.values.predict_one(state).argmax())

    def set_target(self):
        self.target.set_weights(self.values.get_weights())

    def learn_values(self, states, actions, rewards, next_states, goes_on):
        best = self.target.predict(next_states).max(axis=1)
        targets = self.values.predict(states)
        targets[self.every_row, actions] = rewards + DISCOUNT * goes_on * best
        return self.values.train_on_batch(states, targets)

    def learn_policy(self, states, actions, weights):
        return self.policy.train_on_batch(states, actions, weights)

    def learn_both(self, states, actions, returns):
        advantages = returns - self.critic.predict(states)[:, 0]
        policy_loss = self.policy.train_on_batch(states, actions, advantages)
        return policy_loss, self.critic.train_on_batch(states, returns)


class Torch(Side):
    """Eager PyTorch, as its users write it who know what costs time."""

    def build(self):
        import torch
        from torch import nn
        from torch.nn import functional

        self.torch, self.functional = torch, functional
        dtype = getattr(torch, self.dtype)

        def network(outputs: int, seed: int) -> nn.Module:
            model = nn.Sequential(
                nn.Linear(STATE, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
                nn.Linear(HIDDEN, outputs),
            ).to(dtype)  # fmt: skip
            with torch.no_grad():
                for parameter, weight in zip(
                    model.parameters(), weights_of(outputs, seed), strict=True
                ):
                    parameter.copy_(torch.from_numpy(weight.T))
            return model

        def adam(*models: nn.Module) -> torch.optim.Optimizer:
            parameters = [one for model in models for one in model.parameters()]
            return torch.optim.Adam(parameters, RATE, eps=EPSILON, fused=True)

        self.values, self.target = network(ACTIONS, 1), network(ACTIONS, 1)
        self.policy, self.critic = network(ACTIONS, 2), network(1, 3)
        self.of_values, self.of_policy = adam(self.values), adam(self.policy)
        self.of_both = adam(self.policy, self.critic)

    def act(self, state):
        with self.torch.inference_mode():
            return int(self.values(self.torch.from_numpy(state)).argmax())

    def set_target(self):
        with self.torch.no_grad():
            self.torch._foreach_copy_(
                list(self.target.parameters()), list(self.values.parameters())
            )

    def _step(self, optimizer, loss):
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def learn_values(self, *batch):
        states, actions, rewards, next_states, goes_on = map(self.torch.from_numpy, batch)
        with self.torch.no_grad():
            targets = rewards + DISCOUNT * goes_on * self.target(next_states).amax(1)
        chosen = self.values(states).gather(1, actions[:, None])[:, 0]
        loss = self.functional.mse_loss(chosen, targets)
        self._step(self.of_values, loss)
        return loss.item()

    def _policy_loss(self, states, actions, weights):
        losses = self.functional.cross_entropy(self.policy(states), actions, reduction="none")
        return (weights * losses).mean()

    def learn_policy(self, *batch):
        loss = self._policy_loss(*map(self.torch.from_numpy, batch))
        self._step(self.of_policy, loss)
        return loss.item()

    def learn_both(self, *batch):
        states, actions, returns = map(self.torch.from_numpy, batch)
        predicted = self.critic(states)[:, 0]
        policy_loss = self._policy_loss(states, actions, returns - predicted.detach())
        critic_loss = self.functional.mse_loss(predicted, returns)
        self._step(self.of_both, policy_loss + critic_loss)
        return policy_loss.item(), critic_loss.item()


SIDES: dict[str, type[Side]] = {"fastnn": Fastnn, "PyTorch eager": Torch}


class Worker:
    """The requests that a side's process answers."""

    def __init__(self, library: str) -> None:
        self.kind = SIDES[library]

    def losses(self, task: str, dtype: str) -> list[Any]:
        """Return the losses of some steps."""
        call = self.kind(dtype).work(task)
        return [call() for _ in range(CHECK_STEPS)]

    def prepare(self, task: str) -> None:
        """Make the side that is timed, and find how many calls make a block."""
        self.side, self.task = self.kind("float32"), task
        self.calls, self.warm_up = timing.calls_of(self.side.work(task), BLOCK_SECONDS)

    def block(self) -> float:
        """Return the seconds that a call takes, over a block."""
        self.side.reset()
        return timing.seconds_a_call(self.side.work(self.task), self.calls, self.warm_up)


def serve(library: str, threads: int, pipe: Connection) -> None:
    """Answer requests until there are no more."""
    worker = Worker(library)
    if library.startswith("PyTorch"):
        import torch

        torch.set_num_threads(threads)
    while (request := pipe.recv()) is not None:
        name, *arguments = request
        answer = getattr(worker, name)(*arguments)
        timing.wait_until_quiet()
        pipe.send(answer)


class Process:
    """A side's process."""

    def __init__(self, peer: Peer) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, end = context.Pipe()
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(peer_referee.environment(peer))
        try:
            self.child = context.Process(
                target=serve, args=(peer.library, peer.threads, end), daemon=True
            )
            self.child.start()
        finally:
            os.environ.clear()
            os.environ.update(before)

    def ask(self, *request: object) -> Any:
        """Send a request and return the answer."""
        self.pipe.send(request)
        return self.pipe.recv()

    def close(self) -> None:
        """End it."""
        self.pipe.send(None)
        self.child.join()


def compare(processes: dict[Peer, Process]) -> None:
    """Check that all sides have the same losses.

    Raises
    ------
    SystemExit
        They differ by more than rounding.
    """
    for task in TASKS:
        for dtype, tolerance in TOLERANCES.items():
            expected, *others = (one.ask("losses", task, dtype) for one in processes.values())
            for peer, losses in zip(list(processes)[1:], others, strict=True):
                difference = float(np.abs(np.subtract(losses, expected)).max())
                if not difference <= tolerance:
                    raise SystemExit(f"{task}, {dtype}: {peer} differs by {difference:.2g}")


def race(ours: Process, theirs: Process) -> tuple[list[float], list[float]]:
    """Return the times of both sides, in pairs of alternating order."""

    def measure(pair: int) -> tuple[float, float]:
        if pair % 2:
            second = theirs.ask("block")
            return ours.ask("block"), second
        return ours.ask("block"), theirs.ask("block")

    found = [
        timing.undisturbed(measure, pair, attempts=peer_referee.ATTEMPTS)[0]
        for pair in range(timing.PAIRS)
    ]
    first, second = zip(*found, strict=True)
    return list(first), list(second)


def main() -> None:
    """Print the measurements."""
    counts = [int(text) for text in sys.argv[1:]] or sorted({1, os.cpu_count() or 1})
    peers = [Peer("PyTorch eager", threads) for threads in counts]
    processes = {peer: Process(peer) for peer in (OURS, *peers)}
    compare(processes)
    for task in TASKS:
        for process in processes.values():
            process.ask("prepare", task)
        for peer in peers:
            times = race(processes[OURS], processes[peer])
            found = timing.paired_ratios(*times)
            ours, theirs = (1e6 * statistics.median(side) for side in times)
            print(
                f"| {task} | fastnn {ours:.1f} µs | {peer} {theirs:.1f} µs "
                f"| {found['ratio']:.2f} ({found['ratio_q1']:.2f} to {found['ratio_q3']:.2f}) "
                f"| {timing.PAIRS} pairs |",
                flush=True,
            )
    for process in processes.values():
        process.close()


if __name__ == "__main__":
    main()
