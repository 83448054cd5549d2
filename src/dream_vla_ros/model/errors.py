"""What can go wrong with a model: a checkpoint that cannot be used, or an input that does not fit it."""

from __future__ import annotations


class ModelError(Exception):
    """Base of every error of this room."""


class CheckpointError(ModelError, ValueError):
    """A checkpoint folder cannot be used; the message names the file or tensor and what to do."""


class ModelInputError(ModelError, ValueError):
    """An argument does not fit the model; the message names the argument and what is expected."""
