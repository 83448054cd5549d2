"""Puts a network that has been read onto layers that run faster over the same weights."""

from __future__ import annotations

import torch

from .backbone import DreamBackbone
from .blocked import BlockedLinear, can_block
from .errors import ModelInputError
from .fused import can_fuse, fuse
from .inference_settings import InferenceSettings
from .packed_linear import pack_linears
from .quantized import packer


def use_fast_layers(model: DreamBackbone, settings: InferenceSettings) -> None:
    """Run vision tower, projector and language model as settings say from now on, for good.

    Of the settings, `fused_weights`, `blocked_weights`, `quantization` and `compiled` count. A model on other
    layers already, or one whose layers visit their device, stays as it is.

    :param model: On its device, in its type.
    :raises ModelInputError: If it is to be quantised and runs on other layers already.
    """
    blocked = settings.blocked_weights and not settings.compiled
    pack = packer(settings.quantization, blocked and can_block(model.device, torch.bfloat16))
    plain = not model.model.running and can_fuse(model.model)
    if pack is not None and not plain:
        raise ModelInputError("the model runs on other layers already; read it again to quantise it")
    if not plain or not settings.fused_weights:
        return
    if pack is None and blocked and can_block(model.device, model.dtype):
        pack = BlockedLinear
    fuse(model.model, pack)
    if pack is not None:
        pack_linears(model.visual.blocks, pack)
    if pack is BlockedLinear:
        pack_linears(model.visual.merger, pack)
        pack_linears(model.projector, pack)
