"""The benchmark of inference, on the smallest setting."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SOAK = ["--soak", "300", "--steps", "1", "--size", "tiny", "--threads", "1"]
GROWTH_MIB = 8  # of the allocator
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location("inference_benchmark", ROOT / "benchmarks" / "inference.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_both_are_measured_on_the_same_and_agree(benchmark, tmp_path, capsys):
    settings = ["--quick", "--cameras", "2", "--device", "cpu", "--chunks", "2"]
    objectives = ["--objective", "flow_matching", "discrete_diffusion"]
    benchmark.main([*settings, *objectives, "--out", str(tmp_path)])
    report = json.loads((tmp_path / "inference.json").read_text())
    rows = {(row["part"], row["objective"], row["variant"]): row for row in report["results"]}
    assert all(row["runs"] == 3 and row["median_ms"] > 0 for row in rows.values())
    exact = [row for row in rows.values() if row["exact"] and row["part"] != "autoregressive"]
    assert len(exact) == 12
    assert all(row["difference"] < 1e-4 for row in exact)
    rough = [row for row in rows.values() if not row["exact"] and row["part"] == "optimisations"]
    assert {row["variant"] for row in rough} >= {"prompt every 2nd step", "1 step", "int8", "bf16"}
    assert all(row["difference"] > 0 for row in rough)
    assert all(row["limit_ms"] > 0 for row in rows.values())
    assert rows["optimisations", "flow_matching", "published"]["speedup"] == 1.0
    assert "discrete_diffusion" in (tmp_path / "inference.md").read_text()
    for name in ("inference.png", "autoregressive.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert "speed-up" in capsys.readouterr().out


def test_memory_does_not_grow(benchmark, tmp_path):
    benchmark.main([*SOAK, "--out", str(tmp_path)])
    memory = json.loads((tmp_path / "memory.json").read_text())["tiny"]
    assert memory["predictions"] == 300
    assert memory["resident_mib_at_end"] - memory["resident_mib_after_100"] < GROWTH_MIB
