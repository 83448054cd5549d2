"""What can be wrong with the input of a training."""

from __future__ import annotations


class TrainingError(RuntimeError):
    """A training that cannot begin or go on; the message names the file or setting and what to do."""
