"""Many questions about one scene in a single sequence: the images stand there once, in front of all of them.

Images and opening words see only each other, a question sees them and itself. So each question is answered
as if it were the only one, at the cost of its own few tokens. A network has to be trained that way: in
Dream's own prompts the images see the question, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .config import TokenIds
from .errors import ModelInputError


@dataclass(frozen=True, eq=False)
class QuestionPack:
    """Packed questions of several scenes, each scene one row, right-padded.

    :param input_ids: (scenes, length), each answer a mask token closed by the end of the turn.
    :param positions: (scenes, length); every question goes on where the shared tokens end.
    :param mask: (scenes, 1, length, length) bool, True where a place may attend to another.
    :param read: (scenes, questions) places one to the left of the answers; 0 where a scene has fewer.
    :param asked: (scenes, questions) bool, False where a scene has fewer.
    """

    input_ids: Tensor
    positions: Tensor
    mask: Tensor
    read: Tensor
    asked: Tensor


def pack_questions(scenes: Sequence[Sequence[Tensor]], tokens: TokenIds, lead: int = 0) -> QuestionPack:
    """Pack prompts.

    :param scenes: Prompts (length,) of each scene's questions. They begin with the same tokens up to the
        end of the last image, with as many of them in all scenes; the rest of each is its own.
    :param lead: Places in front of everything, shared, to be filled with something else than words.
    :raises ModelInputError: If they do not.
    """
    own = shared_length([prompt for prompts in scenes for prompt in prompts], tokens.vision_end)
    shared = lead + own
    rows, positions, owners, reads = [], [], [], []
    for prompts in scenes:
        parts, places = [_lead(lead, tokens), prompts[0][:own]], [torch.arange(1, shared + 1)]
        owner = [torch.zeros(shared, dtype=torch.long)]
        read, at = [], shared
        for number, prompt in enumerate(prompts, start=1):
            part = torch.cat([prompt[own:], torch.tensor([tokens.mask, tokens.im_end])])
            parts.append(part)
            places.append(torch.arange(shared + 1, shared + 1 + len(part)))
            owner.append(torch.full((len(part),), number))
            at += len(part)
            read.append(at - 3)  # the state left of the answer, which is followed by the end
        rows.append(torch.cat(parts))
        positions.append(torch.cat(places))
        owners.append(torch.cat(owner))
        reads.append(torch.tensor(read))
    owner_of = pad_sequence(owners, batch_first=True, padding_value=-1)
    seen_by_all = owner_of[:, None, :] == 0
    mask = seen_by_all | (owner_of[:, :, None] == owner_of[:, None, :]) & (owner_of[:, None, :] > 0)
    return QuestionPack(
        pad_sequence(rows, batch_first=True, padding_value=tokens.pad),
        pad_sequence(positions, batch_first=True, padding_value=1),
        mask[:, None],
        pad_sequence(reads, batch_first=True),
        pad_sequence([torch.ones(len(read), dtype=torch.bool) for read in reads], batch_first=True),
    )


def _lead(count: int, tokens: TokenIds) -> Tensor:
    return torch.full((count,), tokens.pad, dtype=torch.long)


def shared_length(prompts: Sequence[Tensor], image_end: int) -> int:
    """Return how many tokens stand up to the end of the last image; none without images.

    :param prompts: Each (length,).
    :param image_end: Token behind each image.
    :raises ModelInputError: If the prompts do not begin with the same tokens up to there.
    """
    ends = [(prompt == image_end).nonzero().flatten().tolist() for prompt in prompts]
    shared = ends[0][-1] + 1 if ends[0] else 0
    alike = all(end == ends[0] and len(prompt) > shared for end, prompt in zip(ends, prompts, strict=True))
    if not alike or len({tuple(prompt[:shared].tolist()) for prompt in prompts}) > 1:
        raise ModelInputError("the questions do not begin with the same images")
    return shared
