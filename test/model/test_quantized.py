"""Linear layers in fewer bits: near the exact ones, smaller, and usable in a whole model."""

from functools import partial

import numpy as np
import pytest
import torch

from dream_vla_ros.model import (
    DreamVL,
    DreamVLAForActionPrediction,
    ModelInputError,
    Objective,
    PreviousChunk,
)
from dream_vla_ros.model.blocked import can_block
from dream_vla_ros.model.inference_settings import InferenceSettings, Quantization
from dream_vla_ros.model.packed_linear import pack_linears
from dream_vla_ros.model.quantized import KINDS, Bf16Linear, WeightOnlyLinear

# of a product's norm; a single pair of outliers, which may carry all of it, errs by two roundings
RELATIVE = {
    Quantization.BF16: 0.008,
    Quantization.INT8: 0.015,
    Quantization.FP8: 0.05,
    Quantization.INT4: 0.15,
}
WITH_OUTLIERS = 2.0
BYTES = {Quantization.BF16: 2.1, Quantization.INT8: 1.1, Quantization.FP8: 1.1, Quantization.INT4: 0.6}


def error(kind, linear, x):
    y = linear(x)
    return float((kind(linear)(x) - y).norm() / y.norm())


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("outlier", [1.0, 20.0])
def test_close_to_exact(name, bias, outlier):
    torch.manual_seed(0)
    linear = torch.nn.Linear(256, 128, bias=bias)
    x = torch.randn(1, 33, 256)
    with torch.no_grad():
        linear.weight[3] *= outlier
        x[:, 5] *= outlier
        allowed = RELATIVE[name] * (WITH_OUTLIERS if outlier > 1 else 1)
        assert error(KINDS[name], linear, x) < allowed
        assert error(KINDS[name], linear, x) > 1e-5, "it was not quantised at all"


@pytest.mark.parametrize("name", KINDS)
def test_takes_less_memory(name):
    linear = torch.nn.Linear(1024, 512, bias=False)
    stored = sum(b.numel() * b.element_size() for b in KINDS[name](linear).buffers())
    assert stored < BYTES[name] * linear.weight.numel()


@pytest.mark.parametrize("name", KINDS)
def test_zeros_stay_finite(name):
    linear = torch.nn.Linear(64, 32, bias=False)
    with torch.no_grad():
        linear.weight.zero_()
        assert torch.equal(KINDS[name](linear)(torch.zeros(1, 17, 64)), torch.zeros(1, 17, 32))


@pytest.mark.skipif(not can_block(torch.device("cpu"), torch.bfloat16), reason="no blocks of bfloat16 here")
def test_bf16_in_blocks_is_bf16():
    torch.manual_seed(0)
    linear, x = torch.nn.Linear(256, 128), torch.randn(1, 33, 256)
    kind = partial(Bf16Linear, blocked=True)
    assert 1e-5 < error(kind, linear, x) < RELATIVE[Quantization.BF16]
    torch.testing.assert_close(kind(linear)(x), Bf16Linear(linear)(x), rtol=0.01, atol=0.01)


def test_int4_says_what_does_not_divide():
    with pytest.raises(ModelInputError, match="int4"):
        KINDS[Quantization.INT4](torch.nn.Linear(40, 32))


@pytest.mark.parametrize("name", [Quantization.BF16, Quantization.INT8, Quantization.FP8])
def test_gradients_are_nearly_the_exact_ones(name):
    torch.manual_seed(0)
    linear = torch.nn.Linear(64, 32)
    packed = KINDS[name](linear)
    x, pull = torch.randn(1, 17, 64), torch.randn(1, 17, 32)
    wanted = pull @ linear.weight.detach()
    seen = x.clone().requires_grad_(True)
    (found,) = torch.autograd.grad(packed(seen), seen, pull)
    assert float((found - wanted).norm() / wanted.norm()) < RELATIVE[name]


@pytest.mark.parametrize("name", KINDS)
def test_goes_on_from_the_chunk_before_or_says_why_not(load, make_prompt, name):
    exact, rough = load(), load(InferenceSettings(quantization=name))
    given = make_prompt(exact.config) | {"noise": np.zeros((8, 7))}
    rows = np.random.default_rng(2).uniform(-0.9, 0.9, (6, 7)).astype(np.float32)
    guided = PreviousChunk(rows, 2, 5.0)
    if name is Quantization.INT4:
        with pytest.raises(ModelInputError, match="inpainting"):
            rough.predict_actions(**given, previous=guided)
        return
    wanted = exact.predict_actions(**given, previous=guided) - exact.predict_actions(**given)
    found = rough.predict_actions(**given, previous=guided) - rough.predict_actions(**given)
    assert np.linalg.norm(found - wanted) < 0.25 * np.linalg.norm(wanted)


@pytest.fixture(scope="module")
def load(make_checkpoint):
    shape = {"hidden_size": 64, "intermediate_size": 128, "initializer_range": 0.06}

    def load_(settings=None):
        model = DreamVLAForActionPrediction.from_pretrained(make_checkpoint(**shape), Objective.FLOW_MATCHING)
        if settings is not None:
            model.optimise(settings)
        return model

    return load_


@pytest.mark.parametrize("name", KINDS)
def test_a_whole_model_predicts_nearly_the_same(load, make_prompt, name):
    plain, quantised = load(), load(InferenceSettings(quantization=name))
    prompt = make_prompt(plain.config)
    noise = np.random.default_rng(0).standard_normal((8, 7))
    exact = plain.predict_actions(**prompt, noise=noise)
    rough = quantised.predict_actions(**prompt, noise=noise)
    assert 0 < np.abs(rough - exact).max() < 0.3
    held = sum(p.numel() for layer in quantised.model.layers for p in layer.parameters())
    assert held < sum(p.numel() for layer in plain.model.layers for p in layer.parameters()) / 10
    plain.optimise(InferenceSettings())
    with pytest.raises(ModelInputError, match="read it again"):
        plain.optimise(InferenceSettings(quantization=name))


@pytest.fixture
def planner(make_checkpoint):
    return DreamVL.from_pretrained(make_checkpoint(model_type="dream-vl"))


def linear(width=100, bias=True):
    torch.manual_seed(0)
    return torch.nn.Linear(width, 30, bias=bias)


@pytest.mark.parametrize(("bits", "worst"), [(8, 1 / 127), (4, 1 / 7)])
@pytest.mark.parametrize("width", [64, 100, 128])
def test_no_weight_is_off_by_more_than_half_a_level(bits, worst, width):
    exact = linear(width)
    packed = WeightOnlyLinear(exact, bits)
    off = (packed.weight - exact.weight).abs()
    assert packed.weight.shape == exact.weight.shape
    assert (off <= 0.501 * worst * exact.weight.abs().amax(1, keepdim=True)).all()


@pytest.mark.parametrize("bits", [8, 4])
def test_it_computes_with_the_unpacked_weight_and_the_bias(bits):
    packed = WeightOnlyLinear(linear(), bits)
    x = torch.randn(2, 5, 100)
    torch.testing.assert_close(packed(x), x @ packed.weight.T + packed.bias)
    assert WeightOnlyLinear(linear(bias=False), bits).bias is None


def test_a_row_of_zeros_stays_zero():
    exact = linear()
    with torch.no_grad():
        exact.weight[3] = 0
    for bits in (8, 4):
        assert not WeightOnlyLinear(exact, bits).weight[3].any()


def test_weights_alone_take_less_memory():
    exact = linear(1024)
    size = {
        bits: sum(b.numel() * b.element_size() for b in WeightOnlyLinear(exact, bits).buffers())
        for bits in (8, 4)
    }
    full = sum(p.numel() * p.element_size() for p in exact.parameters())
    assert size[8] < full / 3.9
    assert size[4] < full / 7


@pytest.mark.parametrize(("bits", "tolerance"), [(8, 0.05), (4, 0.5)])
def test_a_model_with_narrow_weights_scores_nearly_the_same(planner, make_prompt, bits, tolerance):
    prompt = make_prompt(planner.config)
    exact = planner.mask_logits(**prompt, masks=4)
    pack_linears(planner.model.layers, partial(WeightOnlyLinear, bits=bits))
    assert not any(isinstance(m, torch.nn.Linear) for m in planner.model.layers.modules())
    off = (planner.mask_logits(**prompt, masks=4) - exact).norm() / exact.norm()
    assert 0 < float(off) < tolerance


def test_other_bits_are_refused():
    with pytest.raises(ModelInputError, match="8 or 4"):
        WeightOnlyLinear(linear(), 3)
