"""Tests of finding configurations and checkpoints, and of random weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from dream_vla_ros.nodes import resources
from dream_vla_ros.nodes.policy import untrained as untrained
from dream_vla_ros.nodes.policy.untrained import OBJECTIVES, untrained_tabletop_checkpoint
from dream_vla_ros.nodes.resources import (
    has_weights,
    is_untrained,
    robot_config,
    share_folder,
    trained_tabletop_checkpoint,
    untrained_tabletop_folder,
)


def test_configs_are_found_by_name_and_by_path():
    assert robot_config("widowx").name == "widowx.yaml"
    assert robot_config(str(share_folder() / "config" / "franka.yaml")) == robot_config("franka")


def test_an_unknown_robot_is_refused_with_those_there_are():
    with pytest.raises(FileNotFoundError, match=r"no robot 'roomba'.*franka, tabletop, widowx"):
        robot_config("roomba")


def test_an_installed_package_is_found_where_there_is_no_clone(tmp_path, monkeypatch):
    module = tmp_path / "site-packages" / "dream_vla_ros" / "nodes" / "resources.py"
    monkeypatch.setattr(resources, "__file__", str(module))
    packages = pytest.importorskip("ament_index_python.packages")
    monkeypatch.setattr(packages, "get_package_share_directory", lambda name: str(tmp_path / name))
    assert share_folder() == tmp_path / "dream_vla_ros"

    def missing(name):
        raise packages.PackageNotFoundError(name)

    monkeypatch.setattr(packages, "get_package_share_directory", missing)
    with pytest.raises(FileNotFoundError, match="build it with colcon"):
        share_folder()


def test_a_layout_without_weights_is_no_checkpoint(tmp_path, monkeypatch):
    folder = tmp_path / "models" / "tabletop"
    folder.mkdir(parents=True)
    monkeypatch.setattr(resources, "share_folder", lambda: tmp_path)
    (folder / "config.json").write_text("{}")
    assert trained_tabletop_checkpoint() is None
    (folder / "model.safetensors").write_bytes(b"")
    assert trained_tabletop_checkpoint() == folder
    assert has_weights(folder)
    assert not is_untrained(folder)


def test_random_weights_are_marked_and_written_once(tmp_path, capsys):
    assert untrained.main([str(tmp_path), "--objective", "l1_regression", "--seed", "3"]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert folder == untrained_tabletop_folder(tmp_path, "l1_regression", 3)
    assert is_untrained(folder)
    weights = folder / "model.safetensors"
    before = weights.stat().st_mtime_ns
    assert untrained_tabletop_checkpoint(tmp_path, "l1_regression", 3) == folder
    assert weights.stat().st_mtime_ns == before
    # Without its mark the writing was cut short.
    (folder / resources.UNTRAINED_MARK).unlink()
    untrained_tabletop_checkpoint(tmp_path, "l1_regression", 3)
    assert weights.stat().st_mtime_ns != before


def test_a_missing_layout_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(untrained, "share_folder", lambda: tmp_path)
    with pytest.raises(FileNotFoundError, match="tabletop_tiny"):
        untrained_tabletop_checkpoint(tmp_path, "flow_matching", 0)


def test_objectives_are_those_of_the_model():
    objective = pytest.importorskip("dream_vla_ros.model.objective").Objective
    assert set(OBJECTIVES) == {known.value for known in objective}
