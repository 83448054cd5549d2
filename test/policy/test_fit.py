"""Tests of the check that a checkpoint and a robot belong together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dream_vla_ros.embodiment import Camera, ProprioLayout
from dream_vla_ros.model import DreamVLAForActionPrediction
from dream_vla_ros.model.checkpoint import HEADS
from dream_vla_ros.policy.fit import check_fit
from dream_vla_ros.policy.policy import PolicyError


def check(folder: Path, embodiment):
    model = DreamVLAForActionPrediction.from_pretrained(folder, chunk_size=embodiment.action.chunk_size)
    return check_fit(model, embodiment, folder)


def change_json(path: Path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_checkpoint_made_for_the_robot_fits(checkpoint, tabletop):
    assert check(checkpoint, tabletop) == ()


def test_another_chunk_size_is_refused(checkpoint, tabletop):
    robot = replace(tabletop, action=replace(tabletop.action, chunk_size=5))
    with pytest.raises(PolicyError, match=r"config\.json: chunk_size is 8.*action\.chunk_size' is 5"):
        check(checkpoint, robot)


def test_chunk_size_is_the_robots_where_the_checkpoint_says_none(checkpoint, tabletop):
    change_json(checkpoint / "config.json", lambda config: config.pop("chunk_size"))
    robot = replace(tabletop, action=replace(tabletop.action, chunk_size=5))
    assert check(checkpoint, robot) == ()


def test_another_number_of_cameras_is_refused(checkpoint, tabletop):
    robot = replace(tabletop, cameras=(*tabletop.cameras, Camera("side", topic="side")))
    with pytest.raises(PolicyError, match=r"num_images is 2.*'cameras\.names' lists 3: .*side"):
        check(checkpoint, robot)


def test_unknown_unnorm_key_is_refused_with_those_there_are(checkpoint, tabletop):
    robot = replace(tabletop, action=replace(tabletop.action, unnorm_key="bridge"))
    with pytest.raises(PolicyError, match=r"unnorm_key' is 'bridge'.*statistics\.json has only tabletop"):
        check(checkpoint, robot)


def test_unnorm_key_may_be_left_out_only_when_there_is_one(checkpoint, tabletop):
    robot = replace(tabletop, action=replace(tabletop.action, unnorm_key=""))
    assert check(checkpoint, robot) == ()
    change_json(checkpoint / "dataset_statistics.json", lambda data: data.update(other=data["tabletop"]))
    with pytest.raises(PolicyError, match=r"unnorm_key' is empty.*tabletop, other"):
        check(checkpoint, robot)


def test_robot_that_gives_no_state_is_told_that_the_model_could_see_it(checkpoint, tabletop):
    robot = replace(tabletop, proprio=replace(tabletop.proprio, layout=ProprioLayout.NONE))
    (note,) = check(checkpoint, robot)
    assert "proprio.layout" in note


def test_another_proprio_layout_is_refused(checkpoint, tabletop):
    robot = replace(tabletop, proprio=replace(tabletop.proprio, layout=ProprioLayout.XYZ_RPY_GRIPPER))
    with pytest.raises(PolicyError, match=r"xyz_rpy_gripper, 7 numbers, but .*proprio_projector.* takes 8"):
        check(checkpoint, robot)


def test_checkpoint_without_proprio_is_refused_where_the_robot_gives_it(checkpoint, tabletop):
    for path in (*checkpoint.glob("proprio_projector--*"), checkpoint / HEADS):
        path.unlink()
    with pytest.raises(PolicyError, match=r"no proprio_projector.*set proprio\.layout to none"):
        check(checkpoint, tabletop)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda entry: entry.pop("proprio"), "no proprio statistics"),
        (lambda entry: entry["proprio"].update(q01=[0.0] * 7, q99=[1.0] * 7), "has 7 of them"),
    ],
)
def test_statistics_must_match_the_proprio(checkpoint, tabletop, change, complaint):
    change_json(checkpoint / "dataset_statistics.json", lambda data: change(data["tabletop"]))
    with pytest.raises(PolicyError, match=complaint):
        check(checkpoint, tabletop)
