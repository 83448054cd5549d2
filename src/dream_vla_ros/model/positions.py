"""Positions of a conversation's tokens: plain ones of Dream-VLA, and the three axes of Dream-VL."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .config import DreamConfig
from .errors import ModelInputError
from .vision import Grid


def positions_in(input_ids: Tensor, grids: Sequence[Grid], config: DreamConfig) -> Tensor:
    """Return the rotary positions of one sequence as the network was trained on them.

    A Dream-VLA network knows places as a plain running count from 1, also when it is asked a question.

    :param input_ids: (length,).
    :param grids: Frames, rows and columns of patches of each image, in order.
    :returns: (3, length).
    """
    if config.model_type == "dream-vl":
        return three_axis_positions(input_ids, grids, config)
    return torch.arange(1, len(input_ids) + 1, device=input_ids.device).expand(3, -1)


def three_axis_positions(input_ids: Tensor, grids: Sequence[Grid], config: DreamConfig) -> Tensor:
    """Compute the rotary positions of one sequence.

    Text advances all three axes by one per token. An image starts where the text stopped; the text behind it
    goes on after the largest position in the image.

    :param input_ids: (length,) ids; each image or video is one unbroken run of its place tokens per grid.
    :param grids: frames, rows and columns of patches of each, in order.
    :returns: (3, length), from 0.
    :raises ModelInputError: if grids and places do not fit.
    """
    merge = config.vision.spatial_merge_size
    ids = input_ids.tolist()
    is_place = [token in (config.tokens.image, config.tokens.video) for token in ids]
    pieces: list[Tensor] = []
    at, start = 0, 0
    for grid in grids:
        try:
            first = is_place.index(True, at)
        except ValueError:
            raise ModelInputError(f"input_ids has no place left for the image of grid {grid}") from None
        frames, rows, columns = grid[0], grid[1] // merge, grid[2] // merge
        size = frames * rows * columns
        if not all(is_place[first : first + size]) or first + size > len(ids):
            raise ModelInputError(
                f"input_ids has fewer than {size} places in a row for the image of grid {grid}"
            )
        text = torch.arange(start, start + first - at).expand(3, -1)
        start += first - at
        axes = torch.meshgrid(*(torch.arange(n) for n in (frames, rows, columns)), indexing="ij")
        pieces += [text, torch.stack(axes).flatten(1) + start]
        start += max(frames, rows, columns)
        at = first + size
    pieces.append(torch.arange(start, start + len(ids) - at).expand(3, -1))
    return torch.cat(pieces, dim=1).to(input_ids.device)
