"""Linear layers in fewer bits: near the exact ones, smaller, and usable in a whole model."""

import numpy as np
import pytest
import torch

from dream_vla_ros.model import DreamVLAForActionPrediction, ModelInputError, Objective, PreviousChunk
from dream_vla_ros.model.inference_settings import InferenceSettings, Quantization
from dream_vla_ros.model.quantized import KINDS

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
