"""From camera images and words to what the networks take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from .checkpoint import open_folder
from .config import DreamConfig, VisionConfig, read_json
from .errors import CheckpointError, ModelInputError
from .prompt import Message, render
from .tokenizer import load_tokenizer, read_chat_template

PREPROCESSOR = "preprocessor_config.json"
PUBLISHED_PIXELS = (3136, 3211264)  # smallest and largest image that Dream-VL is shown
REMEMBERED_PROMPTS = 64  # a robot repeats its instruction at every prediction
Image = npt.NDArray[np.uint8]


class DreamProcessor:
    """Messages and images to ids and patches, with a checkpoint's own tokenizer and settings."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: Qwen2VLImageProcessorPil,
        chat_template: str | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.chat_template = chat_template

    def encode(self, messages: Sequence[Message], images: Sequence[Image] = ()) -> dict[str, Tensor]:
        """Encode a conversation up to and including the assistant's header.

        :param messages: as `prompt.render` takes them.
        :param images: uint8 RGB (height, width, 3), one per image part, in order; sides that are no multiple
            of
            a token's (28 pixels) are resized to the nearest.
        :returns: `input_ids` (1, S) and, with images, `pixel_values` (patches, patch_width) and
            `image_grid_thw` (images, 3).
        :raises ModelInputError: if an image is malformed, or messages and images do not fit.
        """
        vision = self.encode_images(images)
        text = render(messages, self.tokenizer, self.chat_template, self._sizes(vision))
        return {"input_ids": self._tokenize(text), **vision}

    def encode_images(self, images: Sequence[Image]) -> dict[str, Tensor]:
        """Cut images into normalised patches; empty without images."""
        if not len(images):
            return {}
        for index, image in enumerate(images):
            if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
                kind = getattr(image, "dtype", type(image).__name__)
                raise ModelInputError(f"image {index} must be a uint8 array, not {kind}")
            if image.ndim != 3 or image.shape[2] != 3 or not image.size:
                raise ModelInputError(f"image {index} must be RGB (height, width, 3), not {image.shape}")
        try:
            made = self.image_processor(
                images=[np.ascontiguousarray(image) for image in images],
                input_data_format="channels_last",
                return_tensors="np",
            )
        except ValueError as error:
            raise ModelInputError(f"an image cannot be cut into patches: {error}") from error
        return {
            "pixel_values": torch.from_numpy(made["pixel_values"]),
            "image_grid_thw": torch.from_numpy(made["image_grid_thw"].astype(np.int64)),
        }

    def decode(self, ids: Tensor | Sequence[int], *, keep_special: bool = False) -> str:
        """Return the text of ids, up to the end of the assistant's turn unless special tokens are kept."""
        listed = [int(i) for i in (ids.flatten().tolist() if isinstance(ids, Tensor) else ids)]
        if not keep_special:
            ends = {self.tokenizer.eos_token_id, self.tokenizer.convert_tokens_to_ids("<|im_end|>")}
            listed = listed[: next((at for at, token in enumerate(listed) if token in ends), len(listed))]
        return str(self.tokenizer.decode(listed, skip_special_tokens=not keep_special))

    def _sizes(self, vision: Mapping[str, Tensor]) -> list[int]:
        if not vision:
            return []
        merged = self.image_processor.merge_size**2
        return [int(grid.prod()) // merged for grid in vision["image_grid_thw"]]

    def _tokenize(self, text: str) -> Tensor:
        return torch.tensor([self.tokenizer.encode(text, add_special_tokens=False)])

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> DreamProcessor:
        """Read tokenizer, chat template and image settings of a checkpoint folder; no code of it is run.

        :raises CheckpointError: naming the file that is missing, damaged or does not fit `config.json`.
        """
        path = open_folder(folder)
        config = DreamConfig.from_folder(path)
        words = load_tokenizer(path, None if config.model_type == "dream-vl" else config.n_action_bins)
        return cls(words, load_image_processor(path, config.vision), read_chat_template(path))


class DreamVLAProcessor(DreamProcessor):
    """One observation, an image per camera and an instruction, to the inputs of Dream-VLA."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        image_processor: Qwen2VLImageProcessorPil,
        chat_template: str | None = None,
    ) -> None:
        super().__init__(tokenizer, image_processor, chat_template)
        self._prompts: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def __call__(self, images: Sequence[Image], instruction: str) -> dict[str, Tensor]:
        """Encode one observation.

        :param images: uint8 RGB at training size, third person first, one per camera.
        :param instruction: in plain words; put into lower case as in training.
        :returns: `input_ids` (1, S), `pixel_values` (patches, patch_width), `image_grid_thw` (images, 3).
        :raises ModelInputError: if there is no image or no instruction, or one is malformed.
        """
        if not len(images):
            raise ModelInputError("Dream-VLA needs at least one camera image")
        if not isinstance(instruction, str) or not instruction.strip():
            raise ModelInputError(f"the instruction must be words, not {instruction!r}")
        vision = self.encode_images(images)
        key = (instruction, tuple(self._sizes(vision)))
        if key not in self._prompts:
            while len(self._prompts) >= REMEMBERED_PROMPTS:
                self._prompts.pop(next(iter(self._prompts)))
            text = render(
                action_question(instruction, len(images)), self.tokenizer, self.chat_template, key[1]
            )
            self._prompts[key] = self._tokenize(text)
        return {"input_ids": self._prompts[key].clone(), **vision}


def action_question(instruction: str, num_images: int) -> list[Message]:
    """Return the conversation that asks for an action, as in the published training."""
    question = f"What action should the robot take to {instruction.lower()}?"
    parts: list[dict[str, Any]] = [{"type": "image"}] * num_images
    return [{"role": "user", "content": [*parts, {"type": "text", "text": question}]}]


def load_image_processor(folder: Path, vision: VisionConfig) -> Qwen2VLImageProcessorPil:
    """Read `preprocessor_config.json`; without it, the published settings with the sizes of `config.json`.

    :raises CheckpointError: if it is malformed or its patches are not the model's.
    """
    path = folder / PREPROCESSOR
    data = read_json(path) if path.exists() else {}
    for key, expected in {
        "patch_size": vision.patch_size,
        "temporal_patch_size": vision.temporal_patch_size,
        "merge_size": vision.spatial_merge_size,
    }.items():
        if data.get(key, expected) != expected:
            raise CheckpointError(f"{path}: {key} is {data[key]}, but config.json has {expected}")
    raw_size = data.get("size")
    size: Mapping[str, Any] = raw_size if isinstance(raw_size, dict) else {}
    low, high = (
        next((found for found in candidates if found is not None), default)
        for candidates, default in (
            (
                (data.get("min_pixels"), size.get("min_pixels"), size.get("shortest_edge")),
                PUBLISHED_PIXELS[0],
            ),
            ((data.get("max_pixels"), size.get("max_pixels"), size.get("longest_edge")), PUBLISHED_PIXELS[1]),
        )
    )
    colours = {key: data[key] for key in ("image_mean", "image_std") if key in data}
    if any(not isinstance(value, list) or len(value) != 3 for value in colours.values()):
        raise CheckpointError(f"{path}: image_mean and image_std must be three numbers each")
    return Qwen2VLImageProcessorPil(
        min_pixels=low,
        max_pixels=high,
        patch_size=vision.patch_size,
        temporal_patch_size=vision.temporal_patch_size,
        merge_size=vision.spatial_merge_size,
        **colours,
    )
