"""Gradient checkpointing: states inside layers are computed again in the backward pass instead of kept."""

from __future__ import annotations

from functools import partial

from torch.utils.checkpoint import checkpoint

from dream_vla_ros.model.backbone import DreamBackbone


def recompute_layers(model: DreamBackbone) -> None:
    """Keep only what goes into each layer of language model and vision tower.

    A third more computing for memory that no longer grows with what layers hold inside.

    :param model: Changed in place; results and gradients stay the same.
    """
    for layer in (*model.model.layers, *model.visual.blocks):
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
