"""The Dream-VLA and Dream-VL networks and their checkpoints; torch only, no ROS."""

from .config import DreamConfig
from .continuation import PreviousChunk
from .dream_vl import DreamVL
from .dream_vla import DreamVLAForActionPrediction
from .errors import CheckpointError, ModelError, ModelInputError
from .objective import Objective
from .processor import DreamProcessor, DreamVLAProcessor
from .sampling import Unmasking

__all__ = [
    "CheckpointError",
    "DreamConfig",
    "DreamProcessor",
    "DreamVL",
    "DreamVLAForActionPrediction",
    "DreamVLAProcessor",
    "ModelError",
    "ModelInputError",
    "Objective",
    "PreviousChunk",
    "Unmasking",
]
