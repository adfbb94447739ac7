"""A process that trains is killed at random moments and started again until it is done."""

import random
import signal
import subprocess
import sys
import time

import pytest

SCRIPT = """
import hashlib, json, sys
import numpy as np
import fastnn as fnn

folder = sys.argv[1]
rng = np.random.default_rng(0)
x = rng.normal(size=(900, 12)).astype(np.float32)
y = (np.abs(x[:, :3]).sum(1) * 1.2).astype(np.int64) % 4
model = fnn.Sequential(
    [fnn.Dense(48, "gelu"), fnn.Dropout(0.2), fnn.BatchNormalization(), fnn.Dense(4)],
    input_shape=(12,), seed=5,
)
optimizer = fnn.Adam(fnn.schedules.CosineDecay(0.01, 9000), use_ema=True, ema_momentum=0.95)
model.compile(optimizer, "crossentropy", ["accuracy", "f1"])
log = fnn.CSVLogger(folder + "/log.csv")
callbacks = [fnn.EarlyStopping(patience=500), log]
if len(sys.argv) > 2:
    callbacks.append(fnn.BackupAndRestore(folder + "/backup", save_freq=int(sys.argv[2])))
print("ready", flush=True)
history = model.fit(x, y, 16, 160, verbose=0, validation_split=0.2, callbacks=callbacks)
digest = hashlib.sha256()
for arena in (model.network.runtime.arenas["parameters"], model.network.runtime.arenas["state"]):
    digest.update(arena.tobytes())
digest.update(repr((history.history, history.epoch, history.learning_rates)).encode())
digest.update(json.dumps(model.network.generator.bit_generator.state).encode())
digest.update(open(folder + "/log.csv", "rb").read())
print(digest.hexdigest(), model.network.runtime.step, flush=True)
"""


def run(folder, *arguments, kill_after=None):
    """Run the script; return its last line, or None if it was killed first."""
    command = [sys.executable, "-P", "-c", SCRIPT, str(folder), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        if kill_after is not None:
            time.sleep(kill_after)
            child.kill()
        out = child.stdout.read()
    if child.returncode == -signal.SIGKILL:
        return None
    assert child.returncode == 0
    return out


@pytest.mark.parametrize(
    ("kills", "save_freq"),
    [(5, 40), pytest.param(50, 11, marks=pytest.mark.slow)],
)
def test_killed_again_and_again(kills, save_freq, tmp_path):
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    for folder in (alone, killed):
        folder.mkdir()
    began = time.perf_counter()
    wanted = run(alone)
    whole = time.perf_counter() - began
    moments, count = random.Random(kills), 0
    while True:
        after = moments.uniform(0, 3 * whole / kills) if count < kills else None
        found = run(killed, save_freq, kill_after=after)
        if found is not None:
            break
        count += 1
    print(f"{count} kills")
    assert found == wanted
    assert sorted(path.name for path in killed.iterdir()) == ["backup", "log.csv"]
    assert list((killed / "backup").iterdir()) == []
    assert count >= min(kills, 3)
