"""What Dream-VL and Dream-VLA share: vision tower, projector, language model, output layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from .config import DreamConfig
from .errors import ModelInputError
from .language import LanguageModel, PrefixCache, Read
from .vision import Grid, VisionTower


class Projector(nn.Module):
    """Map vision tokens into the language model's embedding space."""

    def __init__(self, config: DreamConfig) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(config.vision.hidden_size, config.hidden_size)
        self.act = ACT2FN[config.projector_hidden_act]
        self.linear_2 = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Project each token by itself."""
        return self.linear_2(self.act(self.linear_1(x)))


class DreamBackbone(nn.Module):
    """The network under both models; parameters carry the published names."""

    def __init__(self, config: DreamConfig) -> None:
        super().__init__()
        self.config = config
        self.visual = VisionTower(config.vision)
        self.projector = Projector(config)
        self.model = LanguageModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.model.norm.weight.dtype

    def embed(
        self, input_ids: Tensor, pixel_values: Tensor | None = None, grids: Sequence[Grid] = ()
    ) -> Tensor:
        """Embed a prompt: token embeddings, with encoded images at the image (or video) places.

        :param input_ids: (batch, length).
        :param pixel_values: (patches, patch_width), in the order of the places they go to.
        :param grids: frames, rows and columns of each image.
        :returns: (batch, length, hidden_size).
        """
        return self.place_images(
            input_ids, None if pixel_values is None else self.encode_images(pixel_values, grids)
        )

    def encode_images(
        self, pixel_values: Tensor, grids: Sequence[Grid], tables: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Encode images as (tokens, hidden_size), ready to stand among embeddings.

        :param tables: rotary tables of the vision tower for these grids, if they are at hand.
        """
        return self.projector(self.visual(pixel_values, grids, tables))

    def place_images(self, input_ids: Tensor, features: Tensor | None) -> Tensor:
        """Embed tokens (batch, length), with features at the image and video places of all rows in turn."""
        embeds = self.model.embed_tokens(input_ids)
        if features is None:
            return embeds
        tokens = self.config.tokens
        places = (input_ids == tokens.image) | (input_ids == tokens.video)
        return embeds.masked_scatter(places[..., None], features.to(embeds.dtype))

    def logits(self, hidden: Tensor, token_ids: Tensor | None = None) -> Tensor:
        """Score tokens: the whole vocabulary, or only `token_ids` (candidates,)."""
        weight = self.lm_head.weight
        return F.linear(hidden, weight if token_ids is None else weight[token_ids])

    def read_prompt(
        self, input_ids: Any, pixel_values: Any, image_grid_thw: Any
    ) -> tuple[Tensor, Tensor | None, list[Grid]]:
        """Check one batch of prompts and bring it to the model's device.

        :param input_ids: (batch, length) or (length,) ids, tensor or array.
        :param pixel_values: (patches, patch_width) of all images; None without images.
        :param image_grid_thw: (images, 3): frames, rows, columns of patches; None without images.
        :raises ModelInputError: if ids, patches and grids do not fit each other or the model.
        """
        ids = torch.as_tensor(np.asarray(input_ids) if not isinstance(input_ids, Tensor) else input_ids)
        if ids.dim() == 1:
            ids = ids[None]
        if ids.dim() != 2 or ids.shape[1] == 0 or ids.is_floating_point():
            raise ModelInputError(
                f"input_ids must be integers (batch, length), not {tuple(ids.shape)} {ids.dtype}"
            )
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= self.config.vocab_size:
            raise ModelInputError(
                f"input_ids holds {low if low < 0 else high}, outside the vocabulary of "
                f"{self.config.vocab_size}: were they made with another checkpoint's tokenizer?"
            )
        tokens = self.config.tokens
        places = int(((ids == tokens.image) | (ids == tokens.video)).sum())
        ids = ids.to(self.device, torch.long)
        if pixel_values is None or image_grid_thw is None:
            if (pixel_values is None) != (image_grid_thw is None):
                raise ModelInputError("pixel_values and image_grid_thw must be given together")
            if places:
                raise ModelInputError(f"input_ids has {places} image places, but no pixel_values were given")
            return ids, None, []
        patches = torch.as_tensor(pixel_values)
        rows = torch.as_tensor(image_grid_thw).reshape(-1, 3).tolist()
        grids: list[Grid] = [(int(frames), int(height), int(width)) for frames, height, width in rows]
        self._check_images(patches, grids, places)
        return ids, patches.to(self.device, self.dtype), grids

    def _check_images(self, patches: Tensor, grids: list[Grid], places: int) -> None:
        vision = self.config.vision
        merge = vision.spatial_merge_size
        for grid in grids:
            if min(grid) <= 0 or grid[1] % merge or grid[2] % merge:
                raise ModelInputError(
                    f"image_grid_thw {grid}: rows and columns of patches must be positive multiples of "
                    f"{merge}"
                )
        count = sum(t * h * w for t, h, w in grids)
        if tuple(patches.shape) != (count, vision.patch_width):
            raise ModelInputError(
                f"pixel_values is {tuple(patches.shape)}, but image_grid_thw and the model's patches make "
                f"it {(count, vision.patch_width)}"
            )
        if count // vision.patches_per_token != places:
            raise ModelInputError(
                f"input_ids has {places} image places, but the images give "
                f"{count // vision.patches_per_token} tokens: build the prompt for the same images"
            )

    def hidden_states(
        self,
        embeds: Tensor,
        rotary: tuple[Tensor, Tensor],
        read: Read | None = None,
        key_mask: Tensor | None = None,
        caches: Sequence[PrefixCache] | None = None,
    ) -> Tensor:
        """Run the language model; see `LanguageModel.forward`."""
        return self.model(embeds, rotary, key_mask, read, caches)
