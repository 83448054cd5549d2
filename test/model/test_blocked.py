"""Weights in blocks: the same products, gradients and predictions as from plain ones."""

import pytest
import torch

from dream_vla_ros.model import ModelInputError
from dream_vla_ros.model.blocked import BlockedLinear, can_block

CPU = torch.device("cpu")
ROUNDING = 2e-6  # relative to a product's norm: float32 summed in another order

NARROW_ROUNDING = 1e-2  # bfloat16 has 8 bits

blocks = pytest.mark.skipif(not can_block(CPU, torch.float32), reason="this torch or processor has no blocks")


def make(bias=True, places=240, width=96):
    torch.manual_seed(0)
    return torch.nn.Linear(places, width, bias=bias)


@blocks
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1,), (3,), (1, 7), (2, 224), (1, 1, 301)])
def test_any_number_of_places_gives_the_same_product(bias, shape):
    linear = make(bias)
    x = torch.randn(*shape, 240)
    with torch.no_grad():
        wanted, found = linear(x), BlockedLinear(linear)(x)
    assert found.shape == wanted.shape
    assert float((found - wanted).norm() / wanted.norm()) < ROUNDING


@blocks
def test_columns_of_a_wider_matrix_are_multiplied_as_they_are():
    linear = make()
    wide = torch.randn(1, 9, 480)
    with torch.no_grad():
        for x in (wide[..., 240:], wide.transpose(0, 1)[..., :240]):
            torch.testing.assert_close(BlockedLinear(linear)(x), linear(x), rtol=1e-4, atol=1e-5)


@blocks
def test_gradients_are_the_plain_ones():
    linear = make()
    x = torch.randn(1, 5, 240, requires_grad=True)
    pull = torch.randn(1, 5, 96)
    (wanted,) = torch.autograd.grad(linear(x), x, pull)
    (found,) = torch.autograd.grad(BlockedLinear(linear)(x), x, pull)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@blocks
def test_the_weight_can_be_had_back():
    linear = make()
    assert torch.equal(BlockedLinear(linear).plain_weight(torch.float32), linear.weight)


@pytest.mark.skipif(not can_block(CPU, torch.bfloat16), reason="no blocks of bfloat16 here")
def test_narrow_weights_give_the_same_products_and_gradients():
    linear = make().to(torch.bfloat16)
    layer = BlockedLinear(linear)
    x = torch.randn(1, 5, 240, dtype=torch.bfloat16, requires_grad=True)
    pull = torch.randn(1, 5, 96, dtype=torch.bfloat16)
    wanted, found = linear(x), layer(x)
    assert found.dtype is torch.bfloat16
    assert float((found - wanted).detach().float().norm() / wanted.detach().float().norm()) < NARROW_ROUNDING
    slopes = [torch.autograd.grad(y, x, pull)[0].float() for y in (wanted, found)]
    assert float((slopes[1] - slopes[0]).norm() / slopes[0].norm()) < NARROW_ROUNDING


def test_other_types_are_refused():
    assert not can_block(CPU, torch.float16)
    assert not can_block(torch.device("meta"), torch.float32)
    with pytest.raises(ModelInputError, match="blocks"):
        BlockedLinear(make().to(torch.float16))
