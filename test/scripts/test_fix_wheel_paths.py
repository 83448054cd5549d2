"""scripts/fix_wheel_paths.py leaves no path of the container that the wheels were built in."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXPORT = (
    '  INTERFACE_INCLUDE_DIRECTORIES "/opt/python/cp311-cp311/include/python3.11;'
    '/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/_core/include"\n'
)


def load():
    spec = importlib.util.spec_from_file_location("fix_wheel_paths", ROOT / "scripts" / "fix_wheel_paths.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FIX = load()
TARGET = {"python_include": "/py/include/python3.12", "numpy_headers": "/np/_core/include"}


def make_prefix(tmp_path: Path) -> Path:
    cmake = tmp_path / "share" / "std_msgs" / "cmake"
    cmake.mkdir(parents=True)
    (cmake / "export_std_msgs__rosidl_generator_pyExport.cmake").write_text(EXPORT)
    (cmake / "other.cmake").write_text("set(x /opt/other)\n")
    index = tmp_path / "share" / "ament_index" / "resource_index" / "parent_prefix_path"
    index.mkdir(parents=True)
    (index / "std_msgs").write_text("/opt/python/cp311-cp311")
    return tmp_path


def test_rewrites_headers_and_prefix(tmp_path):
    prefix = make_prefix(tmp_path)
    assert FIX.fix_prefix(prefix, **TARGET) == 2
    export = prefix / "share/std_msgs/cmake/export_std_msgs__rosidl_generator_pyExport.cmake"
    assert (
        export.read_text() == '  INTERFACE_INCLUDE_DIRECTORIES "/py/include/python3.12;/np/_core/include"\n'
    )
    assert (prefix / "share/ament_index/resource_index/parent_prefix_path/std_msgs").read_text() == str(
        prefix
    )
    assert (prefix / "share/std_msgs/cmake/other.cmake").read_text() == "set(x /opt/other)\n"


def test_second_run_changes_nothing(tmp_path):
    prefix = make_prefix(tmp_path)
    FIX.fix_prefix(prefix, **TARGET)
    assert FIX.fix_prefix(prefix, **TARGET) == 0


@pytest.mark.parametrize("tag", ["cp310-cp310", "cp313-cp313", "cp314-cp314t"])
def test_every_interpreter_tag(tag):
    text = FIX.rewrite(f"/opt/python/{tag}/include/python3.13", prefix="/env", **TARGET)
    assert text == "/py/include/python3.12"


def test_a_numpy_whose_headers_moved_is_followed(tmp_path):
    prefix = make_prefix(tmp_path)
    old = "/env/lib/python3.12/site-packages/numpy/core/include"
    FIX.fix_prefix(prefix, python_include="/py/include/python3.12", numpy_headers=old)
    assert FIX.fix_prefix(prefix, **TARGET) == 1
    export = prefix / "share/std_msgs/cmake/export_std_msgs__rosidl_generator_pyExport.cmake"
    assert "/np/_core/include" in export.read_text()


def test_missing_python_headers_name_the_package(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(FIX.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    assert FIX.main(["--prefix", str(tmp_path)]) == 1
    assert f"python3.{sys.version_info.minor}-dev" in capsys.readouterr().err


@pytest.mark.skipif(
    not os.environ.get("DREAM_VLA_FLAVOUR", "").startswith("wheels"),
    reason="a distribution is sourced, no wheels here",
)
def test_nothing_of_the_container_is_left_in_this_environment():
    left = [
        path
        for path in Path(sys.prefix, "share").glob("*/cmake/**/*.cmake")
        if "/opt/python/" in path.read_text(errors="replace")
    ]
    assert left == []
