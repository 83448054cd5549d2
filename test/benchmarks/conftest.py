"""Benchmarks are scripts: their folder is put on the path for the tests."""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """Import a benchmark by its file's path below `benchmarks/`."""

    def load(path):
        monkeypatch.syspath_prepend(str(BENCHMARKS))
        name = "benchmark_" + path.replace("/", "_").removesuffix(".py")
        spec = importlib.util.spec_from_file_location(name, BENCHMARKS / path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load
