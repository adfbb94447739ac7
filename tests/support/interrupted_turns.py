"""Ctrl-C at each event of Python in a use of `Turns`, which must leave nobody in the way."""

from __future__ import annotations

import itertools
import sys
import threading

from fastnn.core import threads as thread_limits

SECONDS = 20  # after which a test gives up waiting
USES = {
    "look": lambda turns: turns.look(),
    "change": lambda turns: turns.change("step"),
    "owned": lambda turns: turns.owned("fit"),
}


def check_interrupted_use(name, make):
    """Interrupt a use at each event; another thread must have the network for itself afterwards.

    Parameters
    ----------
    name : str
        One of `USES`.
    make : callable
        Returns the turns that are used, and those that the other thread then owns.

    Returns
    -------
    int
        How many events there were.
    """
    before, lines = sys.gettrace(), []

    def trace(frame, event, argument):
        if not frame.f_code.co_filename.endswith("turns.py"):
            return None
        lines.append(event)
        if len(lines) == number:
            raise KeyboardInterrupt  # which ends the tracing
        return trace

    for number in itertools.count(1):
        lines.clear()
        turns, wanted = make()
        found = []
        try:
            sys.settrace(trace)
            with USES[name](turns):
                pass
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        if len(lines) < number:
            return number - 1

        def own(wanted=wanted, found=found):
            with wanted.owned("fit"), wanted.change("fit"):
                found.append(True)

        thread = threading.Thread(target=own, daemon=True)
        thread.start()
        thread.join(SECONDS)
        assert found, f"interrupted at event {number}"
        assert not thread_limits._busy
