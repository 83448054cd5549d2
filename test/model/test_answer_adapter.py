"""Answer adapters: they change what is answered, never what is done, and fit one set of weights only."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dream_vla_ros.model import DreamVL, DreamVLAForActionPrediction
from dream_vla_ros.model.answer_adapter import FILE_NAME, apply_answer_adapter, save_answer_adapter
from dream_vla_ros.model.checkpoint import EMBEDDING_WEIGHT, OUTPUT_WEIGHT, WEIGHTS
from dream_vla_ros.model.errors import CheckpointError, ModelInputError
from dream_vla_ros.model.initialize import initialize_checkpoint

LAYERS = ("model.layers.0.self_attn.q_proj", "model.layers.3.mlp.down_proj")
SCALE = 0.5


@pytest.fixture(scope="module")
def plain(tabletop_tiny, tmp_path_factory):
    return initialize_checkpoint(tabletop_tiny, tmp_path_factory.mktemp("acts"), "flow_matching", seed=1)


@pytest.fixture
def folder(plain, tmp_path):
    return shutil.copytree(plain, tmp_path / "checkpoint")


def adapt(folder, seed=0, **about):
    """Write a random adapter, and return what it is made of."""
    generator = torch.Generator().manual_seed(seed)
    weights = load_file(folder / WEIGHTS)
    base = {name: weights[f"{name}.weight"] for name in LAYERS}
    layers = {
        name: (
            torch.randn(4, weight.shape[1], generator=generator) * 0.1,
            torch.randn(weight.shape[0], 4, generator=generator) * 0.1,
        )
        for name, weight in base.items()
    }
    whole = {
        name: torch.randn(weights[name].shape, generator=generator)
        for name in (EMBEDDING_WEIGHT, OUTPUT_WEIGHT)
    }
    save_answer_adapter(folder, layers, whole, base, SCALE, dtype=torch.float32, **about)
    return layers, whole, base


def test_weights_become_the_sum(folder):
    layers, whole, base = adapt(folder)
    changed = dict(DreamVL.from_pretrained(folder).named_parameters())
    for name, (down, up) in layers.items():
        torch.testing.assert_close(changed[f"{name}.weight"], base[name] + SCALE * up @ down)
    for name, tensor in whole.items():
        torch.testing.assert_close(changed[name], tensor)
    weights = load_file(folder / WEIGHTS)
    untouched = set(weights) - {f"{name}.weight" for name in layers} - set(whole)
    assert untouched
    for name in untouched:
        assert torch.equal(changed[name], weights[name])


def test_actions_stay_the_same_bit_for_bit(folder, plain):
    adapt(folder)
    ids = torch.randint(0, 700, (1, 20), generator=torch.Generator().manual_seed(0))
    chunks = []
    for one in (plain, folder):
        model = DreamVLAForActionPrediction.from_pretrained(one)
        rng = np.random.default_rng(0)
        width = model.proprio_projector.input_width
        noise = rng.normal(size=(model.chunk_size, 7))
        chunks.append(model.predict_actions(ids, proprio=rng.normal(size=width), noise=noise))
    assert np.isfinite(chunks[0]).all()
    np.testing.assert_array_equal(*chunks)


def test_answers_change_and_take_another_way(folder, plain):
    adapt(folder)
    images = [np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)] * 2
    questions = ["Is the red block on the table?", "Is the blue block free?"]
    without, with_it = (DreamVL.from_pretrained(one) for one in (plain, folder))
    assert (without.packs_questions, with_it.packs_questions) == (False, True)
    before, after = (one.yes_probabilities(questions, images) for one in (without, with_it))
    assert np.abs(np.subtract(before, after)).min() > 1e-3


def test_the_state_stands_in_front_where_it_was_learned_so(folder):
    adapt(folder, reads_state=True)
    model = DreamVL.from_pretrained(folder)
    assert model.reads_state
    images = [np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)] * 2
    questions = ["Is the red block on the table?", "Is the blue block free?"]

    def answers(asked, value):
        return model.yes_probabilities(asked, images, 300.0, np.full(8, value))

    near, far = answers(questions, 0.0), answers(questions, 0.9)
    assert np.abs(np.subtract(near, far)).min() > 1e-4
    # One at a time as together: questions see images and state, not each other.
    alone = [answers([one], 0.0)[0] for one in questions]
    np.testing.assert_allclose(alone, near, atol=1e-5)
    model.optimise()
    np.testing.assert_allclose(answers(questions, 0.0), near, atol=1e-5)
    raw = np.linspace(-0.1, 0.1, 8)
    policy = DreamVLAForActionPrediction.from_pretrained(folder)
    np.testing.assert_array_equal(model.normalize_proprio(raw), policy.normalize_proprio(raw))
    refused = {"give proprio": None, r"\(1, 7\)": np.zeros(7), "not finite": np.full(8, np.nan)}
    for message, wrong in refused.items():
        with pytest.raises(ModelInputError, match=message):
            model.yes_probabilities(questions, images, proprio=wrong)


def test_a_state_that_was_not_learned_is_refused(folder):
    adapt(folder)
    model = DreamVL.from_pretrained(folder)
    assert not model.reads_state
    with pytest.raises(ModelInputError, match="answers without a state"):
        model.yes_probabilities(["Is it?"], proprio=np.zeros(8))
    with pytest.raises(ModelInputError, match="without the robot's state"):
        model.normalize_proprio(np.zeros(8))


def test_a_projector_that_was_not_copied_along_is_named(folder):
    adapt(folder, reads_state=True)
    for path in [*folder.glob("proprio_projector*"), *folder.glob("heads*")]:
        path.unlink()
    with pytest.raises(CheckpointError, match="no proprio_projector"):
        DreamVL.from_pretrained(folder)


def test_half_precision_is_no_other_training(folder):
    adapt(folder)
    assert DreamVL.from_pretrained(folder, torch.bfloat16).packs_questions


def test_a_checkpoint_without_one_is_left_alone(plain):
    assert apply_answer_adapter(torch.nn.Linear(2, 2), plain) is None


def test_an_adapter_of_other_weights_is_refused(folder, tabletop_tiny, tmp_path):
    adapt(folder)
    other = initialize_checkpoint(tabletop_tiny, tmp_path / "other", "flow_matching", seed=2)
    shutil.copyfile(folder / FILE_NAME, other / FILE_NAME)
    with pytest.raises(CheckpointError, match="trained on other weights"):
        DreamVL.from_pretrained(other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(f"{LAYERS[0]}.lora_B.weight"), "lacks"),
        (lambda t: t.update({"model.layers.9.weight": torch.zeros(2)}), "which the checkpoint has not"),
        (lambda t: t.update({OUTPUT_WEIGHT: torch.zeros(2, 2)}), r"\(2, 2\), not"),
        (lambda t: t.update({f"{LAYERS[0]}.lora_A.weight": torch.zeros(4, 5)}), "not"),
        (lambda t: t.update({f"{LAYERS[0]}.lora_A.weight": torch.zeros(3, 192)}), "do not fit each other"),
    ],
)
def test_a_wrong_adapter_is_named(folder, change, message):
    adapt(folder)
    tensors = load_file(folder / FILE_NAME)
    change(tensors)
    save_file(tensors, folder / FILE_NAME, metadata={"scale": "1.0"})
    with pytest.raises(CheckpointError, match=message):
        DreamVL.from_pretrained(folder)


@pytest.mark.parametrize("content", [b"", b"no tensors at all"])
def test_a_damaged_adapter_is_named(folder, content):
    (folder / FILE_NAME).write_bytes(content)
    with pytest.raises(CheckpointError, match=FILE_NAME):
        DreamVL.from_pretrained(folder)
