import mujoco
import pytest

from dream_vla_ros.sim.arm import ARM_JOINT_NAMES, EE_LINK, FINGER_JOINT_NAMES
from dream_vla_ros.sim.cameras import CAMERAS
from dream_vla_ros.sim.scene import MAX_BLOCKS, MIN_BLOCKS, build_arm_spec, build_scene_spec


@pytest.mark.parametrize("count", range(MIN_BLOCKS, MAX_BLOCKS + 1))
def test_the_scene_has_arm_cameras_and_as_many_blocks_as_asked(count):
    model = build_scene_spec(num_blocks=count, image_size=(48, 64)).compile()
    joints = {model.joint(index).name for index in range(model.njnt)}
    assert joints == {*ARM_JOINT_NAMES, *FINGER_JOINT_NAMES, *(f"block_{index}" for index in range(count))}
    assert {model.camera(index).name for index in range(model.ncam)} == set(CAMERAS)
    assert model.site(EE_LINK).id >= 0
    assert (model.vis.global_.offheight, model.vis.global_.offwidth) == (48, 64)


@pytest.mark.parametrize("count", [MIN_BLOCKS - 1, MAX_BLOCKS + 1])
def test_other_numbers_of_blocks_are_refused(count):
    with pytest.raises(ValueError, match=f"num_blocks is {count}, not 2 to 5"):
        build_scene_spec(num_blocks=count, image_size=(48, 64))


def test_without_fingers_only_the_arm_moves():
    model = build_arm_spec(fingers=False).compile()
    assert [model.joint(index).name for index in range(model.njnt)] == list(ARM_JOINT_NAMES)
    assert model.neq == 0


def test_joint_limits_reach_the_model_in_radians():
    model = build_arm_spec().compile()
    assert model.joint("shoulder").range == pytest.approx([-1.8849556, 1.9896753])
    assert model.joint("left_finger").range == pytest.approx([0.0, 0.037])


def test_at_rest_nothing_touches_but_blocks_and_table():
    model = build_scene_spec(num_blocks=4, image_size=(8, 8)).compile()
    data = mujoco.MjData(model)
    for index in range(4):
        data.joint(f"block_{index}").qpos[:3] = [0.25, 0.1 * index - 0.15, 0.0199]
    mujoco.mj_forward(model, data)
    pairs = {tuple(sorted(model.geom(g).name for g in contact.geom)) for contact in data.contact}
    assert pairs == {(f"block_{index}", "table") for index in range(4)}
