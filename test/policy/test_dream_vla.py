"""Tests of the policy that runs a checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dream_vla_ros.chunk import Blending
from dream_vla_ros.embodiment import RotationConvention
from dream_vla_ros.geometry import Pose
from dream_vla_ros.images import Preprocessing, preprocess
from dream_vla_ros.model import DreamVLAForActionPrediction, DreamVLAProcessor, Objective
from dream_vla_ros.model.inference_settings import Quantization as ModelQuantization
from dream_vla_ros.model.initialize import initialize_checkpoint
from dream_vla_ros.policy.actions import ActionError
from dream_vla_ros.policy.dream_vla import DreamVLAPolicy
from dream_vla_ros.policy.observation import Observation
from dream_vla_ros.policy.overlap import Overlap
from dream_vla_ros.policy.policy import PolicyError, warm_up_observation
from dream_vla_ros.policy.proprio import ProprioError, ProprioWriter
from dream_vla_ros.policy.settings import JPEG, DType, ModelSettings, ObjectiveName, Quantization
from dream_vla_ros.robot_state import RobotState

ROUNDING = 1e-5  # the policy runs its model on fused products
REPOSITORY = Path(__file__).resolve().parents[2]


def observe(seed=0, instruction="Pick up the red block", state=True):
    rng = np.random.default_rng(seed)
    names = ("third_person", "wrist")
    return Observation(
        images={name: rng.integers(0, 256, (120, 160, 3), dtype=np.uint8) for name in names},
        stamps_ns=dict.fromkeys(names, 1),
        state=RobotState(
            stamp_ns=1,
            received_ns=1,
            pose=Pose(np.array([0.3, 0.0, 0.2]), np.array([0.0, 0.7071, 0.0, 0.7071])),
            joints={"left_finger": 0.02, "right_finger": 0.02},
            gripper=0.5,
        )
        if state
        else None,
        instruction=instruction,
    )


def load(folder, embodiment, **settings):
    return DreamVLAPolicy.load(ModelSettings(checkpoint=str(folder), device="cpu", **settings), embodiment)


def same(first, second):
    return all(
        np.array_equal(getattr(first.motion, name), getattr(second.motion, name))
        for name in ("translation", "rotation", "gripper")
    )


def test_prediction_is_the_models_own_on_prepared_inputs(random_checkpoint, tabletop):
    """Follow the way by hand with the room's public parts and compare."""
    # Random weights predict beyond any training data.
    policy = load(random_checkpoint, tabletop, seed=5, range_margin=100.0)
    seen = observe()
    result = policy.infer(seen)

    model = DreamVLAForActionPrediction.from_pretrained(random_checkpoint, chunk_size=8)
    processor = DreamVLAProcessor.from_pretrained(random_checkpoint)
    images = [preprocess(seen.images[name], Preprocessing(112)) for name in ("third_person", "wrist")]
    proprio = model.normalize_proprio(ProprioWriter(tabletop)(seen.state), "tabletop")
    normalized = model.predict_actions(
        **processor(images, seen.instruction),
        proprio=proprio,
        generator=torch.Generator().manual_seed(5),
    )
    actions = model.unnormalize(normalized, "tabletop")
    assert result.period_s == pytest.approx(0.2)
    assert result.motion.translation == pytest.approx(actions[:, :3], abs=ROUNDING)
    assert result.motion.rotation == pytest.approx(actions[:, 3:6], abs=ROUNDING)
    assert result.motion.gripper == pytest.approx(actions[:, 6].clip(0.0, 1.0), abs=ROUNDING)
    assert policy.name == "random"
    assert policy.objective == "flow_matching"


def test_everything_the_robot_sees_matters(random_checkpoint, tabletop):
    policy = load(random_checkpoint, tabletop)
    results = []
    for seen in (
        observe(),
        observe(seed=1),
        observe(instruction="push the green block to the left"),
        replace(observe(), state=warm_up_observation(tabletop).state),
    ):
        policy.reset()
        results.append(policy.infer(seen))
    for first in range(len(results)):
        for second in range(first):
            assert not same(results[first], results[second])


def test_goals_repeat_exactly_and_noise_goes_on_within_one(random_checkpoint, tabletop):
    policy = load(random_checkpoint, tabletop, seed=1)
    first, second = policy.infer(observe()), policy.infer(observe())
    policy.reset()
    assert same(policy.infer(observe()), first)
    assert not same(first, second)
    assert not same(load(random_checkpoint, tabletop, seed=2).infer(observe()), first)


@pytest.mark.parametrize("objective", list(ObjectiveName))
def test_every_objective_runs(objective, tabletop, tmp_path):
    folder = initialize_checkpoint(
        REPOSITORY / "models" / "tabletop_tiny", tmp_path / objective.value, objective
    )
    policy = load(folder, tabletop, objective=objective, steps=2)
    result = policy.infer(warm_up_observation(tabletop))
    assert policy.objective == objective.value
    assert len(result.motion) == tabletop.action.chunk_size
    assert np.isfinite(result.motion.translation).all()


def test_euler_differences_need_and_use_the_measured_orientation(random_checkpoint, tabletop):
    robot = replace(tabletop, action=replace(tabletop.action, rotation=RotationConvention.EULER_DIFFERENCE))
    results = [load(random_checkpoint, r).infer(observe()).motion.rotation for r in (tabletop, robot)]
    assert not np.allclose(*results, atol=1e-3)


def test_missing_state_and_fingers_are_named(random_checkpoint, tabletop):
    policy = load(random_checkpoint, tabletop)
    with pytest.raises(PolicyError, match="needs the arm's state"):
        policy.infer(observe(state=False))
    seen = observe()
    bare = replace(seen, state=replace(seen.state, joints={}))
    with pytest.raises(ProprioError, match="left_finger, right_finger"):
        policy.infer(bare)


def test_weights_that_are_not_finite_give_no_motion(checkpoint, tabletop):
    (path,) = checkpoint.glob("action_head--*.pt")
    weights = torch.load(path, weights_only=True)
    for tensor in weights.values():
        tensor.fill_(float("nan"))
    torch.save(weights, path)
    policy = load(checkpoint, tabletop)
    with pytest.raises(ActionError, match="not finite"):
        policy.infer(observe())


def test_preprocessing_is_the_checkpoints_unless_set(checkpoint, tabletop):
    trained = Preprocessing(112, jpeg=False, crop_area=0.8)
    assert ModelSettings().preprocessing(trained) == trained
    assert ModelSettings(image_size=56, image_jpeg=JPEG.YES, image_crop_area=1.0).preprocessing(
        trained
    ) == Preprocessing(56, jpeg=True, crop_area=1.0)
    assert ModelSettings(image_jpeg=JPEG.NO).preprocessing(Preprocessing(112)).jpeg is False
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "image_crop_area": 1.0}))
    changed, overridden = load(checkpoint, tabletop), load(checkpoint, tabletop, image_crop_area=0.9)
    assert not same(changed.infer(observe()), overridden.infer(observe()))


def test_objectives_are_the_models():
    assert {name.value for name in ObjectiveName} == {objective.value for objective in Objective}


def test_bfloat16_predicts_nearly_the_same(random_checkpoint, tabletop):
    exact = load(random_checkpoint, tabletop).infer(observe()).motion.translation
    coarse = load(random_checkpoint, tabletop, dtype=DType.BFLOAT16).infer(observe()).motion.translation
    assert coarse == pytest.approx(exact, abs=5e-3)
    assert not np.array_equal(coarse, exact)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"checkpoint": ""}, "'checkpoint' is empty"),
        ({"checkpoint": "no/such/folder"}, "'checkpoint'.*no/such/folder"),
        ({"checkpoint": str(REPOSITORY / "models" / "tabletop_tiny")}, "'checkpoint'.*models/tabletop_tiny"),
        ({"device": "cuda:99"}, "'device' is 'cuda:99'.*usable are cpu"),
        ({"device": "toaster"}, "'device' is 'toaster'"),
        ({"objective": ObjectiveName.L1_REGRESSION}, "'checkpoint'.*action_head.*flow_matching"),
    ],
)
def test_what_cannot_be_loaded_is_named(settings, complaint, random_checkpoint, tabletop):
    with pytest.raises(PolicyError, match=complaint):
        DreamVLAPolicy.load(
            ModelSettings(**{"checkpoint": str(random_checkpoint), "device": "cpu", **settings}), tabletop
        )


def test_memory_that_does_not_suffice_is_an_error_that_can_be_survived(
    random_checkpoint, tabletop, monkeypatch
):
    policy = load(random_checkpoint, tabletop)

    def run_out(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(DreamVLAForActionPrediction, "predict_actions", run_out)
        with pytest.raises(PolicyError, match="out of memory"):
            policy.infer(observe())
    assert len(policy.infer(observe()).motion) == 8


def test_warm_up_observation_fits_every_robot(random_checkpoint, tabletop):
    seen = warm_up_observation(tabletop)
    assert list(seen.images) == ["third_person", "wrist"]
    policy = load(random_checkpoint, tabletop)
    assert len(policy.infer(seen).motion) == 8
    policy.close()


def test_runs_as_the_settings_say(random_checkpoint, tabletop):
    assert [q.value for q in Quantization] == [q.value for q in ModelQuantization]
    seen = observe()
    plain = load(random_checkpoint, tabletop).infer(seen).motion.translation
    for change in ({"quantization": Quantization.INT8}, {"refresh_every": 2}):
        near = load(random_checkpoint, tabletop, **change).infer(seen).motion.translation
        assert 0 < np.abs(near - plain).max() < 0.1 * np.abs(plain).max()


def test_recording_ahead_leaves_the_noise_where_it_was(random_checkpoint, tabletop):
    policy, seen = load(random_checkpoint, tabletop), observe()
    expected = policy.infer(seen)
    policy.record(warm_up_observation(tabletop))
    assert same(policy.infer(seen), expected)


@pytest.mark.parametrize("blending", [Blending.INPAINTING, Blending.REAL_TIME_CHUNKING])
def test_a_chunk_goes_on_from_the_one_before(random_checkpoint, tabletop, blending):
    policy = load(random_checkpoint, tabletop, blending=blending, range_margin=100.0)
    free = load(random_checkpoint, tabletop, range_margin=100.0)
    first = policy.infer(observe())
    # Guidance runs on weights that lie otherwise in memory, so sums are rounded otherwise.
    np.testing.assert_allclose(
        first.motion.translation, free.infer(observe()).motion.translation, rtol=0, atol=ROUNDING
    )
    # Three steps of the first chunk were executed, two more will be: they are the new chunk's first two.
    seen = replace(observe(seed=1), overlap=Overlap(elapsed_s=0.6, delay_s=0.4))
    second, unjoined = policy.infer(seen), free.infer(seen)
    kept = first.motion.translation[3:5]
    distance = np.abs(second.motion.translation[:2] - kept).max()
    if blending is Blending.INPAINTING:
        assert distance < ROUNDING
    assert distance < 0.5 * np.abs(unjoined.motion.translation[:2] - kept).max()


def test_a_new_goal_continues_nothing(random_checkpoint, tabletop):
    policy = load(random_checkpoint, tabletop, blending=Blending.INPAINTING)
    first = policy.infer(observe())
    policy.reset()
    assert same(policy.infer(replace(observe(), overlap=Overlap(0.6, 0.4))), first)


def test_a_blending_that_the_objective_cannot_do_is_refused(tabletop, tmp_path):
    folder = initialize_checkpoint(
        REPOSITORY / "models" / "tabletop_tiny", tmp_path / "l1", "l1_regression", seed=0
    )
    with pytest.raises(PolicyError, match="'blending' is 'inpainting'.*not l1_regression; use latest"):
        load(folder, tabletop, objective=ObjectiveName.L1_REGRESSION, blending=Blending.INPAINTING)


def test_numbers_beyond_the_training_data_are_brought_back_and_counted(random_checkpoint, tabletop):
    wild = load(random_checkpoint, tabletop, range_margin=100.0).infer(observe())
    tame = load(random_checkpoint, tabletop, range_margin=0.0).infer(observe())
    assert wild.out_of_range == 0
    assert tame.out_of_range > 0
    assert np.abs(tame.motion.translation).max() < np.abs(wild.motion.translation).max()
    np.testing.assert_array_equal(tame.motion.gripper, wild.motion.gripper)


def test_images_prepared_on_the_device_give_nearly_the_same(random_checkpoint, tabletop):
    seen = observe()
    plain = load(random_checkpoint, tabletop).infer(seen).motion.translation
    near = load(random_checkpoint, tabletop, preprocess_on_device=True).infer(seen).motion.translation
    assert np.abs(near - plain).max() < 0.05 * np.abs(plain).max()
