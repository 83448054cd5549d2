"""Which checkpoint is run and how: parameters, apart from torch, which takes seconds to import."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from dream_vla_ros.chunk import Blending
from dream_vla_ros.images import Preprocessing
from dream_vla_ros.parameters import param
from dream_vla_ros.policy.range_guard import RangeResponse


class ObjectiveName(str, Enum):
    """What a checkpoint was fine-tuned with; the names are those of the model's objectives."""

    FLOW_MATCHING = "flow_matching"
    L1_REGRESSION = "l1_regression"
    DIFFUSION = "diffusion"
    DISCRETE = "discrete"
    DISCRETE_DIFFUSION = "discrete_diffusion"


class DType(str, Enum):
    """Type of a model's weights."""

    AUTO = "auto"
    """bfloat16 on a GPU, float32 on a processor, where it is the faster."""

    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


class Quantization(str, Enum):
    """How the layers' matrices are stored and multiplied; the names are those of the model's settings."""

    NONE = "none"
    BF16 = "bf16"
    INT8 = "int8"
    FP8 = "fp8"
    INT4 = "int4"


class JPEG(str, Enum):
    """Whether images go through JPEG before the model sees them."""

    AUTO = "auto"
    YES = "yes"
    NO = "no"


@dataclass(frozen=True)
class PlacementSettings:
    """Where a model's weights come from, and where and in which type it is run."""

    checkpoint: str = param("", "Folder of the checkpoint.", read_only=False)
    device: str = param(
        "auto",
        "Torch device such as cpu or cuda:0; auto takes the first GPU, or the processor without one.",
        read_only=False,
    )
    dtype: DType = param(
        DType.AUTO, "Type of the weights; auto is bfloat16 on a GPU and float32 elsewhere.", read_only=False
    )
    threads: int = param(
        0,
        "Processor threads that inference may use; 0 leaves the choice to torch.",
        minimum=0,
        maximum=256,
        read_only=False,
    )


@dataclass(frozen=True)
class ModelSettings(PlacementSettings):
    """Which checkpoint is run and how; a change takes effect when the node is configured again."""

    checkpoint: str = param("", "Folder of a Dream-VLA checkpoint.", read_only=False)
    objective: ObjectiveName = param(
        ObjectiveName.FLOW_MATCHING, "What the checkpoint was fine-tuned with.", read_only=False
    )
    steps: int = param(
        0,
        "Integration, denoising or unmasking steps; 0 takes what the checkpoint says, or the objective's "
        "default.",
        minimum=0,
        maximum=1000,
        read_only=False,
    )
    samples: int = param(
        0,
        "How many noises flow matching and diffusion start from, whose actions are averaged: more accurate "
        "where there is one way to act; 0 takes what the checkpoint says, or 1.",
        minimum=0,
        maximum=64,
        read_only=False,
    )
    seed: int = param(
        0,
        "Seed of the noise that actions start from; every goal begins with it again.",
        minimum=0,
        maximum=2**31 - 1,
        read_only=False,
    )
    cuda_graphs: bool = param(
        True,
        "Record each prediction on a GPU once and replay it; changes no result. Without effect elsewhere.",
        read_only=False,
    )
    compile: bool = param(
        False,
        "Compile the layers while configuring, which takes a minute and a C++ compiler; changes no more than "
        "rounding.",
        read_only=False,
    )
    quantization: Quantization = param(
        Quantization.NONE,
        "Fewer bits in the layers, for speed or memory: bf16, int8, fp8 (GPUs that have it) or int4 "
        "(memory). Changes actions a little.",
        read_only=False,
    )
    refresh_every: int = param(
        1,
        "Run the prompt at every so many steps of a prediction and reuse its keys in between; above 1 is "
        "faster and changes actions a little.",
        minimum=1,
        maximum=1000,
        read_only=False,
    )
    preprocess_on_device: bool = param(
        False,
        "Resize, crop and cut images where the model is instead of on the processor. Differs by rounding, "
        "which JPEG makes a level in some pixels.",
        read_only=False,
    )
    image_size: int = param(
        0,
        "Side of the square images the checkpoint was trained on [pixels]; 0 takes what it says, or 224.",
        minimum=0,
        maximum=4096,
        read_only=False,
    )
    image_jpeg: JPEG = param(
        JPEG.AUTO,
        "Whether the training images were stored as JPEG; auto takes what the checkpoint says, or yes.",
        read_only=False,
    )
    image_crop_area: float = param(
        0.0,
        "Share of the area that the centre crop keeps; 0 takes what the checkpoint says, or 0.9.",
        minimum=0.0,
        maximum=1.0,
        read_only=False,
    )

    blending: Blending = param(
        Blending.LATEST,
        "How a new chunk joins the one before; set the controller's parameter of the same name alike.",
        read_only=False,
    )
    guidance_limit: float = param(
        5.0,
        "For real_time_chunking: largest weight of the guidance towards the chunk before.",
        minimum=0.01,
        maximum=1000.0,
        read_only=False,
    )
    range_margin: float = param(
        0.25,
        "Share of the training data's range that actions may lie beyond its 1st and 99th percentile.",
        minimum=0.0,
        maximum=100.0,
        read_only=False,
    )
    range_response: RangeResponse = param(
        RangeResponse.CLIP,
        "What is done about actions beyond that: clip them, or refuse them and end the goal.",
        read_only=False,
    )

    def preprocessing(self, trained: Preprocessing) -> Preprocessing:
        """Return what is done to camera images.

        :param trained: What the checkpoint says.
        """
        return Preprocessing(
            size=self.image_size or trained.size,
            jpeg=trained.jpeg if self.image_jpeg is JPEG.AUTO else self.image_jpeg is JPEG.YES,
            crop_area=self.image_crop_area or trained.crop_area,
        )
