"""The benchmark of inference, on the smallest setting."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

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
    settings = ["--size", "tiny", "--cameras", "2", "--runs", "3", "--seconds", "5", "--device", "cpu"]
    objectives = ["--objective", "flow_matching", "discrete_diffusion"]
    benchmark.main([*settings, *objectives, "--out", str(tmp_path)])
    report = json.loads((tmp_path / "inference.json").read_text())
    rows = {(row["objective"], row["variant"]): row for row in report["results"]}
    assert len(rows) == 5
    assert all(row["runs"] == 3 and row["median_ms"] > 0 for row in rows.values())
    assert rows["flow_matching", "ours"]["largest_difference"] < 1e-4
    assert rows["discrete_diffusion", "ours"]["largest_difference"] < 1e-6
    assert rows["flow_matching", "published"]["speedup"] == 1.0
    assert "discrete_diffusion" in (tmp_path / "inference.md").read_text()
    assert (tmp_path / "inference.png").read_bytes().startswith(b"\x89PNG")
    assert "speed-up" in capsys.readouterr().out
