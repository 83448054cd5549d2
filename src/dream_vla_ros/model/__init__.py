"""The Dream-VLA and Dream-VL networks and their checkpoints; torch only, no ROS."""

from .config import DreamConfig
from .dream_vl import DreamVL
from .dream_vla import DreamVLAForActionPrediction, Objective
from .errors import CheckpointError, ModelError, ModelInputError
from .sampling import Unmasking

__all__ = [
    "CheckpointError",
    "DreamConfig",
    "DreamVL",
    "DreamVLAForActionPrediction",
    "ModelError",
    "ModelInputError",
    "Objective",
    "Unmasking",
]
