"""The engine's predictions: the same as the plain model's and the published ones, however they are run."""

from functools import partial

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters

from dream_vla_ros.model import DreamVLAForActionPrediction, ModelInputError, Objective, PreviousChunk
from dream_vla_ros.model.blocked import BlockedLinear, can_block
from dream_vla_ros.model.inference_settings import InferenceSettings
from dream_vla_ros.model.packed_linear import pack_linears
from dream_vla_ros.model.quantized import WeightOnlyLinear

ROUNDING = 2e-5  # float32 in another order of operations
SWITCHES = {
    "fused weights": InferenceSettings(tables=False, remembered_prompts=0),
    "tables": InferenceSettings(fused_weights=False, remembered_prompts=0),
    "remembered prompts": InferenceSettings(fused_weights=False, tables=False),
    "plain weights": InferenceSettings(blocked_weights=False),
    "buckets": InferenceSettings(fused_weights=False, bucket=16),
    "wide buckets": InferenceSettings(bucket=64),
    "all": InferenceSettings(),
    "nothing": InferenceSettings.plain(),
}


@pytest.fixture(scope="module")
def load(make_checkpoint):
    def load_(objective, settings=None, dtype=torch.float32, **overrides):
        folder = make_checkpoint(objective.value, initializer_range=0.06, **overrides)
        model = DreamVLAForActionPrediction.from_pretrained(folder, objective, dtype=dtype)
        if settings is not None:
            model.optimise(settings)
        return model

    return load_


@pytest.fixture(scope="module")
def prompts(load, make_prompt):
    config = load(Objective.DISCRETE).config
    return [make_prompt(config, grids, seed) for seed, grids in enumerate([((1, 4, 6),), ((1, 4, 6),) * 2])]


def predict(model, prompt, **more):
    state = np.linspace(-1, 1, 8, dtype=np.float32)
    noise = np.random.default_rng(1).standard_normal((8, 7), dtype=np.float32)
    more = {"proprio": state, "noise": noise, "steps": 3, "action_tokens_only": False} | more
    return model.predict_actions(**prompt, **more)


@pytest.mark.parametrize("objective", list(Objective))
@pytest.mark.parametrize("switch", SWITCHES)
def test_same_as_plain_model(load, prompts, objective, switch):
    plain, fast = load(objective), load(objective, SWITCHES[switch])
    for prompt in [*prompts, prompts[0]]:
        for state in (np.full(8, 0.3), None):
            expected = predict(plain, prompt, proprio=state)
            np.testing.assert_allclose(predict(fast, prompt, proprio=state), expected, atol=ROUNDING)


@pytest.mark.parametrize("heads", [{"num_key_value_heads": 4}, {"num_hidden_layers": 1}])
def test_same_for_other_shapes(load, prompts, heads):
    objective = Objective.FLOW_MATCHING
    fast = load(objective, InferenceSettings(bucket=8), **heads)
    np.testing.assert_allclose(
        predict(fast, prompts[1]), predict(load(objective, **heads), prompts[1]), atol=ROUNDING
    )


@pytest.mark.parametrize("objective", [Objective.FLOW_MATCHING, Objective.DIFFUSION])
@pytest.mark.parametrize("limit", [None, 5.0])
def test_same_going_on_from_a_chunk(load, prompts, objective, limit):
    if limit is not None and objective is not Objective.FLOW_MATCHING:
        return
    rows = np.random.default_rng(2).uniform(-0.9, 0.9, (6, 7)).astype(np.float32)
    previous = PreviousChunk(rows, 2, limit)
    fast = predict(load(objective, InferenceSettings(bucket=16)), prompts[0], previous=previous)
    np.testing.assert_allclose(
        fast, predict(load(objective), prompts[0], previous=previous), atol=10 * ROUNDING
    )


@pytest.mark.parametrize("settings", [InferenceSettings(), InferenceSettings(bucket=16)])
def test_everything_that_goes_in_matters(load, prompts, settings):
    fast = load(Objective.FLOW_MATCHING, settings)
    first = predict(fast, prompts[0])
    words = prompts[0]["input_ids"].clone()
    words[0, -1] = 17
    for change in ({"input_ids": words}, {"pixel_values": prompts[0]["pixel_values"] + 1}):
        assert np.abs(predict(fast, prompts[0] | change) - first).max() > 1e-4
    assert np.abs(predict(fast, prompts[0], proprio=np.zeros(8)) - first).max() > 1e-4
    assert np.abs(predict(fast, prompts[0], noise=np.zeros((8, 7))) - first).max() > 1e-4
    np.testing.assert_array_equal(predict(fast, prompts[0]), first)


@pytest.mark.parametrize("objective", [Objective.FLOW_MATCHING, Objective.DIFFUSION])
@pytest.mark.parametrize("switch", SWITCHES)
def test_several_noises_at_once_are_the_same_as_in_the_plain_model(load, prompts, objective, switch):
    plain, fast = load(objective), load(objective, SWITCHES[switch])
    for state in (np.full(8, 0.3), None):
        expected, found = (
            predict(
                model,
                prompts[1],
                proprio=state,
                noise=None,
                samples=3,
                generator=torch.Generator().manual_seed(2),
            )
            for model in (plain, fast)
        )
        np.testing.assert_allclose(found, expected, atol=ROUNDING)


def test_vision_runs_once(load, prompts):
    for objective in Objective:
        model, calls = load(objective, InferenceSettings()), []
        model.visual.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        predict(model, prompts[1], steps=4)
        assert len(calls) == 1


def test_remembers_no_more_prompts_than_asked_for(load, make_prompt):
    model = load(Objective.L1_REGRESSION, InferenceSettings(remembered_prompts=2))
    prompts = [make_prompt(model.config, ((1, 4, 6),), seed) for seed in range(4)]
    for prompt in prompts:
        predict(model, prompt)
    assert len(model.engine._plans) == 2


def test_words_without_images_and_single_token_prompts(load):
    for ids in ([[1, 2, 3]], [[5]]):
        fast, plain = (load(Objective.L1_REGRESSION, s) for s in (InferenceSettings(bucket=16), None))
        np.testing.assert_allclose(
            fast.predict_actions(input_ids=ids), plain.predict_actions(input_ids=ids), atol=ROUNDING
        )


def test_weights_are_stored_once(load):
    model = load(Objective.FLOW_MATCHING)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    storages = {p.untyped_storage().data_ptr() for p in model.parameters()}
    model.optimise(InferenceSettings(blocked_weights=False))
    assert len({p.untyped_storage().data_ptr() for p in model.parameters()}) < len(storages)
    ran = {p.untyped_storage().data_ptr() for layer in model.model.running for p in layer.parameters()}
    assert ran <= {p.untyped_storage().data_ptr() for p in model.parameters()}
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.skipif(not can_block(torch.device("cpu"), torch.float32), reason="no blocks on this processor")
def test_weights_in_blocks_are_stored_once(load):
    model = load(Objective.FLOW_MATCHING)
    layers = sum(p.numel() for p in model.model.layers.parameters())
    model.optimise(InferenceSettings())
    assert sum(p.numel() for p in model.model.layers.parameters()) < layers / 10
    assert all(isinstance(layer.gate_up, BlockedLinear) for layer in model.model.running)


@pytest.mark.skipif(not can_block(torch.device("cpu"), torch.bfloat16), reason="no blocks on this processor")
@pytest.mark.parametrize("objective", [Objective.FLOW_MATCHING, Objective.L1_REGRESSION])
def test_blocks_change_bfloat16_by_rounding(load, prompts, objective):
    plain, packed = (
        load(objective, InferenceSettings(blocked_weights=blocked), dtype=torch.bfloat16)
        for blocked in (False, True)
    )
    assert all(isinstance(layer.gate_up, BlockedLinear) for layer in packed.model.running)
    np.testing.assert_allclose(predict(packed, prompts[1]), predict(plain, prompts[1]), atol=0.05)


def test_prompt_is_reused_between_steps_only_when_asked_for(load, prompts):
    plain = predict(load(Objective.FLOW_MATCHING), prompts[1], steps=4)
    model = load(Objective.FLOW_MATCHING, InferenceSettings(refresh_every=2))
    widths = []
    first = model.model.running[0]
    first.register_forward_pre_hook(lambda _, args: widths.append(args[0].shape[1]))
    reused = predict(model, prompts[1], steps=4)
    whole, part = prompts[1]["input_ids"].shape[1] + 2 + 56 + 2, 1 + 2 + 56 + 2
    assert widths == [whole, part, whole, part]
    difference = np.abs(reused - plain).max()
    assert 0 < difference < 0.05
    every_time = load(Objective.FLOW_MATCHING, InferenceSettings(refresh_every=9))
    np.testing.assert_allclose(
        predict(every_time, prompts[1], steps=1),
        predict(load(Objective.FLOW_MATCHING), prompts[1], steps=1),
        atol=ROUNDING,
    )


def test_one_compiled_layer_serves_all_of_its_kind(load, prompts, monkeypatch):
    """Compiling each layer anew would take minutes on the 7B and pass torch's limit."""
    compile_module = torch.nn.Module.compile
    # what is traced is what counts here; a C++ compiler need not be there
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **more: compile_module(self, backend="aot_eager", **more)
    )
    torch._dynamo.reset()
    counters["stats"].clear()
    shape = {"num_hidden_layers": 5, "vision_config": {"depth": 3}}
    fast = load(Objective.FLOW_MATCHING, InferenceSettings(compiled=True, bucket=16), **shape)
    plain = load(Objective.FLOW_MATCHING, **shape)
    np.testing.assert_allclose(predict(fast, prompts[1]), predict(plain, prompts[1]), atol=ROUNDING)
    assert counters["stats"]["unique_graphs"] == 3  # vision block, layer, last layer


def test_layers_that_are_not_plain_are_left_as_they_are(load, prompts):
    model = load(Objective.FLOW_MATCHING)
    exact = predict(model, prompts[0])
    pack_linears(model.model.layers, partial(WeightOnlyLinear, bits=8))
    rough = predict(model, prompts[0])
    model.optimise(InferenceSettings())
    assert not model.model.running
    np.testing.assert_allclose(predict(model, prompts[0]), rough, atol=ROUNDING)
    assert np.abs(rough - exact).max() > ROUNDING


@pytest.mark.parametrize(
    "wrong", [{"bucket": 0}, {"refresh_every": 0}, {"remembered_prompts": -1}, {"bucket": True}]
)
def test_settings_that_make_no_sense_are_named(wrong):
    with pytest.raises(ModelInputError, match=next(iter(wrong))):
        InferenceSettings(**wrong)


def test_exact_says_what_changes_rounding_only():
    assert InferenceSettings().exact
    assert InferenceSettings.for_device("cuda").exact
    assert not InferenceSettings(refresh_every=2).exact
    assert not InferenceSettings(quantization="int8").exact
