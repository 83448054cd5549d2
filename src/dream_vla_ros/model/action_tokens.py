"""Actions as tokens: each normalised number becomes one of the tokenizer's last tokens, counted downwards."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class ActionTokens:
    """Map numbers in [-1, 1] to token ids and back.

    Bin b of 1..bins is token `tokenizer_length - b`; a bin decodes to its centre, the outermost (only 1
    itself falls into it) to the centre of the last interval.
    """

    def __init__(self, tokenizer_length: int, bins: int = 256) -> None:
        self.tokenizer_length = tokenizer_length
        self.edges = np.linspace(-1.0, 1.0, bins)
        self.centres = (self.edges[:-1] + self.edges[1:]) / 2

    @property
    def first_id(self) -> int:
        """Smallest action token id; the action tokens are `first_id` to `tokenizer_length - 1`."""
        return self.tokenizer_length - len(self.edges)

    @property
    def ids(self) -> range:
        """All action token ids."""
        return range(self.first_id, self.tokenizer_length)

    def encode(self, actions: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the token ids of normalised actions, clipped to [-1, 1]; any shape."""
        bins = np.digitize(np.clip(actions, -1.0, 1.0), self.edges)
        return (self.tokenizer_length - bins).astype(np.int64)

    def decode(self, token_ids: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the bin centres of token ids; ids that are no action token give the nearest end."""
        bins = self.tokenizer_length - np.asarray(token_ids)
        return self.centres[np.clip(bins - 1, 0, len(self.centres) - 1)]
