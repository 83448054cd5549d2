"""Dream-VL as planning's model: plans that always parse, answers that are the network's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from answering import answering_by_state
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dream_vla_ros.embodiment import Embodiment
from dream_vla_ros.geometry import Pose
from dream_vla_ros.model.sampling import ALGORITHMS
from dream_vla_ros.nodes.planner.mind import DreamVlMind
from dream_vla_ros.nodes.planner.model import DreamVlModel, ModelFailedError
from dream_vla_ros.nodes.planner.model_settings import Algorithm, DreamVlSettings, Weights
from dream_vla_ros.nodes.policy.untrained import untrained_tabletop_checkpoint
from dream_vla_ros.nodes.resources import TABLETOP, robot_config
from dream_vla_ros.planning.calibration import Calibration
from dream_vla_ros.planning.domain import Scene
from dream_vla_ros.planning.goal_text import parse_goal
from dream_vla_ros.planning.grammar import goal_grammar, plan_grammar
from dream_vla_ros.planning.grounding import Thresholds
from dream_vla_ros.planning.interfaces import Observation
from dream_vla_ros.planning.library import load_domain
from dream_vla_ros.planning.outcomes import TaskCode, TaskInterrupted
from dream_vla_ros.planning.plan_text import parse_plan
from dream_vla_ros.planning.prompts import goal_messages, planner_messages
from dream_vla_ros.planning.resolve import Resolver
from dream_vla_ros.planning.terms import Atom
from dream_vla_ros.robot_state import RobotState

torch.set_num_threads(1)
QUESTIONS = ["Is the red block on top of the blue block?", "Is the gripper holding the red block?"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Checkpoints of random weights; what they write differs from seed to seed."""
    folder = tmp_path_factory.mktemp("models")
    return [untrained_tabletop_checkpoint(folder, "flow_matching", seed) for seed in range(2)]


@pytest.fixture(scope="module")
def images():
    return [np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)]


@pytest.fixture(scope="module")
def scene():
    return Scene(load_domain("tabletop"), dict.fromkeys(("red", "blue", "green"), "block"))


def model_of(folder, **parameters):
    return DreamVlModel.load(
        DreamVlSettings(str(folder), device="cpu", **{"steps": 4, "max_new_tokens": 48, **parameters})
    )


@given(
    which=st.integers(0, 1),
    algorithm=st.sampled_from(ALGORITHMS),
    temperature=st.sampled_from([0.0, 0.7, 2.0]),
    length=st.integers(16, 72),
    steps=st.integers(1, 6),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
def test_a_plan_always_parses(folders, scene, which, algorithm, temperature, length, steps, seed):
    model = model_of(
        folders[which],
        algorithm=Algorithm(algorithm),
        temperature=temperature,
        max_new_tokens=length,
        steps=steps,
        seed=seed,
    )
    text = model.generate([{"role": "user", "content": "Plan."}], [], grammar=plan_grammar(scene))
    plan = parse_plan(text)
    assert plan.actions
    assert not plan.remarks
    for raw in plan.actions:
        Resolver(scene).resolve(raw)


def test_a_plan_about_images_and_a_goal_parse(folders, images, scene):
    model = model_of(folders[0])
    messages = planner_messages(scene, ["the red block is on the blue block"], images=1)
    assert parse_plan(model.generate(messages, images, grammar=plan_grammar(scene))).actions
    messages = goal_messages(scene, "stack red on blue", images=1)
    assert parse_goal(model.generate(messages, images, grammar=goal_grammar(scene)), scene)


def test_a_task_can_be_repeated(folders, scene):
    model = model_of(folders[0], temperature=1.5)
    chat, grammar = [{"role": "user", "content": "Plan."}], plan_grammar(scene)
    first, second = (model.generate(chat, [], grammar=grammar) for _ in range(2))
    model.reset()
    assert model.generate(chat, [], grammar=grammar) == first
    assert first != second


@pytest.mark.parametrize("constrained", [True, False])
def test_writing_can_be_ended_before_every_pass(folders, scene, constrained):
    model = model_of(folders[0], steps=16)
    passes, calls = [], []
    model._model.model.register_forward_hook(lambda *_: passes.append(1))

    def check():
        calls.append(1)
        if len(calls) > 2:
            raise TaskInterrupted(TaskCode.CANCELED, "enough")

    mind = DreamVlMind(model, constrained=constrained)
    mind.begin(check)
    grammar = plan_grammar(scene) if constrained else None
    with pytest.raises(TaskInterrupted, match="enough"):
        model.generate([{"role": "user", "content": "Plan."}], [], grammar=grammar)
    assert len(calls) == 3
    assert len(passes) == 2


def test_answers_are_the_networks_and_labelled_until_they_are_calibrated(folders, images, scene, tmp_path):
    model = model_of(folders[0])
    raw = model.yes_probabilities(QUESTIONS, Observation(tuple(images)))
    assert all(0.0 < value < 1.0 for value in raw)
    asker = DreamVlMind(model, constrained=True).asker(scene, Thresholds())
    atom = Atom("on", ("red", "blue"))
    (answer,) = asker.ground([atom], Observation(tuple(images), 7))
    assert answer.probability == pytest.approx(raw[0], abs=1e-5)
    assert (answer.calibrated, answer.stamp_ns) == (False, 7)
    assert any("uncalibrated" in note for note in model.notes)

    Calibration(2.0, 0.2, 0.01, 100).save(folders[0])
    try:
        calibrated = model_of(folders[0])
    finally:
        (folders[0] / "grounding_calibration.json").unlink()
    asker = DreamVlMind(calibrated, constrained=True).asker(scene, Thresholds())
    (after,) = asker.ground([atom], Observation(tuple(images), 7))
    assert after.calibrated
    log_odds = math.log(answer.probability / (1 - answer.probability)) / 2.0
    assert after.probability == pytest.approx(1 / (1 + math.exp(-log_odds)), abs=1e-5)


@pytest.mark.parametrize(
    "parameters", [{"weights": Weights.INT8}, {"weights": Weights.INT4}, {"host_layers": True}]
)
def test_smaller_models_answer_nearly_the_same(folders, images, parameters):
    seen = Observation(tuple(images))
    exact = model_of(folders[0]).yes_probabilities(QUESTIONS, seen)
    smaller = model_of(folders[0], **parameters).yes_probabilities(QUESTIONS, seen)
    assert smaller == pytest.approx(exact, abs=0.1)


def test_a_model_that_answers_by_the_state_needs_the_robots(folders, images, tmp_path):
    folder = answering_by_state(folders[0], tmp_path / "answers")
    settings = DreamVlSettings(str(folder), device="cpu")
    with pytest.raises(ModelFailedError, match="say which robot it is"):
        DreamVlModel.load(settings)
    with pytest.raises(ModelFailedError, match="8 numbers, but proprio.layout 'none' has 0"):
        DreamVlModel.load(settings, Embodiment.from_file(robot_config("widowx")))
    robot = Embodiment.from_file(robot_config(TABLETOP))
    model = DreamVlModel.load(settings, robot)
    assert DreamVlMind(model, constrained=True).reads_state
    joints = dict(zip(robot.state.finger_joints, robot.state.finger_open, strict=True))
    seen = tuple(images)
    poses = (Pose([0.2, 0.0, 0.2], [1, 0, 0, 0]), Pose([0.3, 0.1, 0.1], [1, 0, 0, 0]))
    states = [RobotState(0, 0, pose, joints, gripper=1.0) for pose in poses]
    near, far = (model.yes_probabilities(QUESTIONS, Observation(seen, 7, state)) for state in states)
    assert near != pytest.approx(far, abs=1e-9)
    with pytest.raises(ModelFailedError, match="none is there"):
        model.yes_probabilities(QUESTIONS, Observation(seen))
    with pytest.raises(ModelFailedError, match="finger"):
        model.yes_probabilities(QUESTIONS, Observation(seen, 7, RobotState(0, 0, Pose.identity(), {})))
    assert not DreamVlMind(model_of(folders[0]), constrained=True).reads_state


def test_what_cannot_be_loaded_or_asked_says_why(folders, images, tmp_path):
    with pytest.raises(ModelFailedError, match="'checkpoint' is empty"):
        DreamVlModel.load(DreamVlSettings())
    with pytest.raises(ModelFailedError, match="'checkpoint'"):
        model_of(tmp_path / "nowhere")
    with pytest.raises(ModelFailedError, match="'device'"):
        DreamVlModel.load(DreamVlSettings(str(folders[0]), device="toaster"))
    model = model_of(folders[0])
    with pytest.raises(ModelFailedError, match="control token"):
        model.yes_probabilities(["<|im_end|>"], Observation(tuple(images)))
    with pytest.raises(ModelFailedError, match="image"):
        model.generate([{"role": "user", "content": [{"type": "image"}]}], [])
