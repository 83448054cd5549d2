"""Weights in fewer bits, and layers that visit the device only while they run."""

import pytest
import torch
from torch import nn

from dream_vla_ros.model import DreamVL, ModelInputError
from dream_vla_ros.model.compact import CompactLinear, compact_layers, stream_layers


@pytest.fixture
def model(make_checkpoint):
    return DreamVL.from_pretrained(make_checkpoint(model_type="dream-vl"))


def linear(width=100, bias=True):
    torch.manual_seed(0)
    return nn.Linear(width, 30, bias=bias)


@pytest.mark.parametrize(("bits", "worst"), [(8, 1 / 127), (4, 1 / 7)])
@pytest.mark.parametrize("width", [64, 100, 128])
def test_no_weight_is_off_by_more_than_half_a_level(bits, worst, width):
    exact = linear(width)
    compact = CompactLinear(exact, bits)
    off = (compact.weight - exact.weight).abs()
    assert compact.weight.shape == exact.weight.shape
    assert (off <= 0.501 * worst * exact.weight.abs().amax(1, keepdim=True)).all()


@pytest.mark.parametrize("bits", [8, 4])
def test_it_computes_with_the_unpacked_weight_and_the_bias(bits):
    compact = CompactLinear(linear(), bits)
    x = torch.randn(2, 5, 100)
    torch.testing.assert_close(compact(x), x @ compact.weight.T + compact.bias)
    assert CompactLinear(linear(bias=False), bits).bias is None


def test_a_row_of_zeros_stays_zero():
    exact = linear()
    with torch.no_grad():
        exact.weight[3] = 0
    for bits in (8, 4):
        assert not CompactLinear(exact, bits).weight[3].any()


def test_it_takes_less_memory():
    exact = linear(1024)
    size = {
        bits: sum(b.numel() * b.element_size() for b in CompactLinear(exact, bits).buffers())
        for bits in (8, 4)
    }
    full = sum(p.numel() * p.element_size() for p in exact.parameters())
    assert size[8] < full / 3.9
    assert size[4] < full / 7


@pytest.mark.parametrize(("bits", "tolerance"), [(8, 0.05), (4, 0.5)])
def test_a_compact_model_scores_nearly_the_same(model, make_prompt, bits, tolerance):
    prompt = make_prompt(model.config)
    exact = model.mask_logits(**prompt, masks=4)
    compact_layers(model, bits)
    assert not any(isinstance(m, nn.Linear) for m in model.model.layers.modules())
    off = (model.mask_logits(**prompt, masks=4) - exact).norm() / exact.norm()
    assert 0 < float(off) < tolerance


def test_other_bits_are_refused(model):
    with pytest.raises(ModelInputError, match="8 or 4"):
        compact_layers(model, 3)


@pytest.mark.parametrize("bits", [None, 8])
def test_streamed_layers_compute_the_same_and_go_home(model, make_prompt, bits):
    prompt = make_prompt(model.config)
    if bits:
        compact_layers(model, bits)
    exact = model.mask_logits(**prompt, masks=4)
    homes = {name: t.data_ptr() for name, t in model.model.layers.state_dict().items()}
    stream_layers(model, torch.device("cpu"))
    torch.testing.assert_close(model.mask_logits(**prompt, masks=4), exact, rtol=0, atol=0)
    assert {name: t.data_ptr() for name, t in model.model.layers.state_dict().items()} == homes
