"""The language backbone against a written-out one, and its shortcuts against doing everything."""

import math

import pytest
import torch

from dream_vla_ros.model.config import DreamConfig
from dream_vla_ros.model.language import LanguageModel, PrefixCache, rotary_tables, take


@pytest.fixture
def small(make_config):
    config = DreamConfig.from_dict(make_config(num_hidden_layers=3, hidden_size=48, num_attention_heads=6))
    torch.manual_seed(0)
    model = LanguageModel(config).eval()
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    positions = torch.arange(1, 8)[None]
    return config, model, torch.randn(2, 7, 48), rotary_tables(positions, config, torch.float32)


def written_out(model, config, x):
    """Compute hidden states in float64 with loops over heads and places."""
    model = model.double()
    x = x.double()
    dim, group = config.head_dim, config.num_attention_heads // config.num_key_value_heads

    def norm(layer, y):
        return y / torch.sqrt((y**2).mean(-1, keepdim=True) + config.rms_norm_eps) * layer.weight

    def rotated(vector, place):
        out = vector.clone()
        for i in range(dim // 2):
            angle = place * config.rope_theta ** (-2 * i / dim)
            a, b = vector[i], vector[i + dim // 2]
            out[i] = a * math.cos(angle) - b * math.sin(angle)
            out[i + dim // 2] = b * math.cos(angle) + a * math.sin(angle)
        return out

    for layer in model.layers:
        attention = layer.self_attn
        y = norm(layer.input_layernorm, x)
        q, k, v = attention.q_proj(y), attention.k_proj(y), attention.v_proj(y)
        mixed = torch.zeros_like(q)
        for row in range(len(x)):
            for head in range(config.num_attention_heads):
                mine, shared = slice(head * dim, (head + 1) * dim), head // group
                theirs = slice(shared * dim, (shared + 1) * dim)
                keys = torch.stack([rotated(k[row, j, theirs], j + 1) for j in range(x.shape[1])])
                for i in range(x.shape[1]):
                    scores = keys @ rotated(q[row, i, mine], i + 1) / math.sqrt(dim)
                    mixed[row, i, mine] = scores.softmax(0) @ v[row, :, theirs]
        x = x + attention.o_proj(mixed)
        y = norm(layer.post_attention_layernorm, x)
        gate = layer.mlp.gate_proj(y)
        x = x + layer.mlp.down_proj(gate * torch.sigmoid(gate) * layer.mlp.up_proj(y))
    return norm(model.norm, x)


@torch.no_grad()
def test_same_as_written_out(small):
    config, model, x, rotary = small
    ours = model(x, rotary)
    torch.testing.assert_close(ours, written_out(model, config, x).float(), atol=1e-5, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("read", [slice(2, 5), torch.tensor([[0, 6], [3, 1]])])
def test_reading_less_changes_nothing(small, read):
    _, model, x, rotary = small
    torch.testing.assert_close(model(x, rotary, read=read), take(model(x, rotary), read))


@torch.no_grad()
def test_padding_is_not_attended_to(small):
    config, model, x, rotary = small
    mask = torch.ones(2, 1, 1, 7, dtype=torch.bool)
    mask[..., 5:] = False
    other = x.clone()
    other[:, 5:] = 9.0
    shorter = rotary_tables(torch.arange(1, 6)[None], config, torch.float32)
    seen = model(x, rotary, mask)[:, :5]
    torch.testing.assert_close(seen, model(other, rotary, mask)[:, :5])
    torch.testing.assert_close(seen, model(x[:, :5], shorter))


@torch.no_grad()
def test_attention_looks_ahead(small):
    _, model, x, rotary = small
    other = x.clone()
    other[:, -1] += 1
    assert not torch.allclose(model(x, rotary)[:, 0], model(other, rotary)[:, 0])


def test_three_axes_with_equal_positions_are_one_axis(make_config):
    config = DreamConfig.from_dict(make_config())
    positions = torch.arange(9)[None]
    one = rotary_tables(positions, config, torch.float32)
    three = rotary_tables(positions.expand(3, 1, -1), config, torch.float32, config.mrope_section)
    for a, b in zip(one, three, strict=True):
        torch.testing.assert_close(a, b)


@torch.no_grad()
def test_a_kept_prefix_changes_nothing_while_nothing_changes(small):
    _, model, x, (cos, sin) = small
    caches = [PrefixCache(4) for _ in model.layers]
    whole = model(x, (cos, sin), caches=caches)
    behind = (cos[:, :, 4:], sin[:, :, 4:])
    torch.testing.assert_close(model(x[:, 4:], behind, caches=caches), whole[:, 4:])
    torch.testing.assert_close(model(x[:, 4:], behind, None, slice(1, 2), caches), whole[:, 5:6])


@torch.no_grad()
def test_a_kept_prefix_is_of_its_own_time(small):
    _, model, x, (cos, sin) = small
    caches = [PrefixCache(4) for _ in model.layers]
    model(x, (cos, sin), caches=caches)
    other = x.clone()
    other[:, 5] += 1
    kept = model(other[:, 4:], (cos[:, :, 4:], sin[:, :, 4:]), caches=caches)
    assert not torch.allclose(kept, model(other, (cos, sin))[:, 4:], atol=1e-4)
