"""What blending promises: no gap, and seams far smoother than those of a broker that blocks."""

from __future__ import annotations

import dataclasses

import pytest

from dream_vla_ros.embodiment import Embodiment

HALF_CHUNK_MS = 800.0


@pytest.mark.parametrize("speed_m_s", [0.05, 0.08])
# At 200 ms a chunk takes over where a step of the one before ends.
@pytest.mark.parametrize("latency_ms", [50, 200])
def test_no_blending_misses_an_aim(benchmark, latency_ms: int, speed_m_s: float):
    bench = benchmark("chunk_execution.py")
    robot = Embodiment.from_file(bench.REPOSITORY / "config" / "tabletop.yaml")
    results = [bench.Bench(robot, mode, latency_ms, 0, speed_m_s).run(8.0) for mode in bench.MODES]
    assert bench.check_aims(results, HALF_CHUNK_MS) == []
    assert results[0].idle_ticks > 0
    rough = dataclasses.replace(results[0], mode="latest")
    assert len(bench.check_aims([results[0], rough], HALF_CHUNK_MS)) == 2
