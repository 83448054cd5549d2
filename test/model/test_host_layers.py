"""Layers that visit the device only while they run."""

from functools import partial

import pytest
import torch

from dream_vla_ros.model import DreamVL
from dream_vla_ros.model.host_layers import stream_layers
from dream_vla_ros.model.packed_linear import pack_linears
from dream_vla_ros.model.quantized import WeightOnlyLinear


@pytest.mark.parametrize("bits", [None, 8])
def test_streamed_layers_compute_the_same_and_go_home(make_checkpoint, make_prompt, bits):
    model = DreamVL.from_pretrained(make_checkpoint(model_type="dream-vl"))
    prompt = make_prompt(model.config)
    if bits:
        pack_linears(model.model.layers, partial(WeightOnlyLinear, bits=bits))
    exact = model.mask_logits(**prompt, masks=4)
    homes = {name: t.data_ptr() for name, t in model.model.layers.state_dict().items()}
    stream_layers(model, torch.device("cpu"))
    torch.testing.assert_close(model.mask_logits(**prompt, masks=4), exact, rtol=0, atol=0)
    assert {name: t.data_ptr() for name, t in model.model.layers.state_dict().items()} == homes
