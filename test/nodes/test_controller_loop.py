"""The fixed-rate loop keeps its rate and leaves out what it cannot make."""

from __future__ import annotations

import math
import threading
import time

import pytest
from ros_graph import wait_until

from dream_vla_ros.nodes.controller.loop import FixedRateLoop

PERIOD_S = 0.005


def test_it_keeps_its_rate_and_ends():
    ticks: list[float] = []
    loop = FixedRateLoop(PERIOD_S, lambda: ticks.append(time.monotonic()), "test")
    assert math.isnan(loop.figures().rate_hz)
    loop.start()
    wait_until(lambda: len(ticks) >= 100)
    loop.end(timeout_s=5.0)
    assert not loop.alive
    count = len(ticks)
    figures = loop.figures()
    # The rate holds over many ticks however late single ones come.
    expected = (ticks[-1] - ticks[0]) / PERIOD_S
    assert abs(count - 1 + figures.missed - expected) <= 2.0
    assert 0.0 <= figures.jitter_p99_s <= figures.jitter_max_s
    assert len(ticks) == count


def test_ticks_that_were_missed_are_left_out_not_made_up_for():
    ticks: list[float] = []
    slow = threading.Event()

    def tick() -> None:
        ticks.append(time.monotonic())
        if len(ticks) == 3:
            time.sleep(20 * PERIOD_S)
            slow.set()

    loop = FixedRateLoop(PERIOD_S, tick, "test")
    loop.start()
    wait_until(slow.is_set)
    wait_until(lambda: len(ticks) >= 13)
    loop.end(timeout_s=5.0)
    assert loop.figures().missed >= 17
    assert ticks[12] - ticks[3] >= 8 * PERIOD_S


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_the_function_raises_ends_the_loop():
    def tick() -> None:
        raise RuntimeError

    loop = FixedRateLoop(PERIOD_S, tick, "test")
    loop.start()
    wait_until(lambda: not loop.alive)
