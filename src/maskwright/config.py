"""Frozen model configurations and the one table of presets.

A configuration is everything that the shape of a network depends on, and nothing else: no device,
no dtype, no file. It is inferred from weights (``weights.infer``), never from a file's name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from maskwright.errors import InputError

SIZE_MULTIPLE = 32
"""Input sides are multiples of this: the stride of the coarsest trunk level."""


@dataclass(frozen=True)
class HieraConfig:
    """The hierarchical vision transformer of SAM 2 (Ryali et al. 2023, as in the SAM 2 paper)."""

    width: int
    """Channels of the first stage; doubles with every stage."""
    heads: int
    """Attention heads of the first stage; doubles with every stage."""
    depths: tuple[int, int, int, int]
    """Blocks per stage."""
    global_blocks: tuple[int, ...]
    """Numbers of the blocks (counted over all stages) that attend to the whole picture."""
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)
    """Side of the attention windows per stage, in tokens."""
    position_grid: tuple[int, int] = (7, 7)
    """Size of the learned position map that is stretched over the picture."""

    @property
    def channels(self) -> tuple[int, int, int, int]:
        """Channels of the four levels, strides 4, 8, 16, 32."""
        return (self.width, self.width * 2, self.width * 4, self.width * 8)


@dataclass(frozen=True)
class EfficientNetConfig:
    """EfficientNet-Lite0 (Tan & Le 2019; the Lite variant: ReLU6, no squeeze-and-excite)."""

    channels: tuple[int, int, int, int] = (24, 40, 112, 320)
    """Channels of the four tapped levels, strides 4, 8, 16, 32."""


@dataclass(frozen=True)
class ModelConfig:
    """One SAM 2 network: trunk, neck, prompt encoder, mask decoder and memory."""

    name: str
    """Catalogue name, e.g. ``sam2.1-tiny``."""
    trunk: HieraConfig | EfficientNetConfig
    image_size: int = 1024
    """Side of the square network input in pixels, a multiple of 32."""
    video_size: int = 0
    """The same while objects are followed through a video, where time is shorter; 0: as for pictures."""
    width: int = 256
    """Channels of image features, prompt tokens and decoder; a multiple of 8 times ``heads``."""
    heads: int = 8
    """Attention heads of the mask decoder."""
    decoder_mlp: int = 2048
    """Hidden channels of the MLP in the mask decoder's transformer."""
    mask_channels: int = 16
    """Channels at the last step before the mask prompt reaches ``width``."""
    memory_width: int = 64
    """Channels of a memory; ``width`` is a multiple of it."""
    memory_layers: int = 4
    """Layers of memory attention."""
    memory_mlp: int = 2048
    """Hidden channels of the MLP in memory attention."""
    num_memories: int = 7
    """Memory frames that one frame attends to: six recent ones and the prompted one."""
    num_pointers: int = 16
    """Object pointers that one frame attends to."""
    occlusion_memory: bool = True
    """2.1: memories of frames without the object carry a learned vector (``no_obj_embed_spatial``)."""
    pointer_time: bool = True
    """2.1: object pointers carry a projected, signed temporal encoding (``obj_ptr_tpos_proj``)."""
    draw_prompts: bool = False
    """nano: boxes and clicks are also drawn, as pictures, into the dense mask prompt."""
    neck_layers: int = 0
    """nano: ConvNeXt blocks after the neck's stride-16 level."""
    fusion_layers: int = 0
    """nano: ConvNeXt blocks that mix picture and dense prompt before the decoder's transformer."""
    fine_layers: bool = False
    """nano: finer features learn from coarser ones, and the decoder has layers at strides 8 and 4 too."""
    appraise: bool = False
    """nano: predicted IoUs also look at the masks, see ``model.appraisal``."""
    match_memory: bool = False
    """nano: memories are matched cell by cell and the mask they hold is redrawn (``model.memory_cells``)."""
    pixel_mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Subtracted from RGB in 0..1."""
    pixel_std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """RGB in 0..1 is divided by this after the mean."""
    stability_delta: float = 0.05
    """Logit offset of the stability score that chooses between one mask and the best of three."""
    stability_threshold: float = 0.98
    """Stability score from which the single mask is trusted."""

    def __post_init__(self) -> None:
        for name, side in (("image_size", self.image_size), ("video_size", self.video_size)):
            if side % SIZE_MULTIPLE or side < (SIZE_MULTIPLE if name == "image_size" else 0):
                raise InputError(
                    f"{name} must be a positive multiple of {SIZE_MULTIPLE}, not {side}; "
                    f"try {max(1, round(side / SIZE_MULTIPLE)) * SIZE_MULTIPLE}"
                )

    @property
    def grid(self) -> int:
        """Side of the stride-16 feature map."""
        return self.image_size // 16

    @property
    def mask_size(self) -> int:
        """Side of low-resolution mask logits and of mask prompts (stride 4)."""
        return self.image_size // 4

    def at(self, image_size: int) -> ModelConfig:
        """The same network at another input size, for pictures and videos."""
        return replace(self, image_size=image_size, video_size=0)

    @property
    def for_video(self) -> ModelConfig:
        """The same network at the input size for videos."""
        return self.at(self.video_size) if self.video_size else self


_TRUNKS = {
    "tiny": HieraConfig(width=96, heads=1, depths=(1, 2, 7, 2), global_blocks=(5, 7, 9)),
    "small": HieraConfig(width=96, heads=1, depths=(1, 2, 11, 2), global_blocks=(7, 10, 13)),
    "base+": HieraConfig(
        width=112, heads=2, depths=(2, 3, 16, 3), global_blocks=(12, 16, 20), position_grid=(14, 14)
    ),
    "large": HieraConfig(
        width=144, heads=2, depths=(2, 6, 36, 4), global_blocks=(23, 33, 43), windows=(8, 4, 16, 8)
    ),
}

NANO = ModelConfig(
    name="nano",
    trunk=EfficientNetConfig(),
    image_size=704,
    video_size=512,
    width=128,
    decoder_mlp=512,
    memory_width=124,
    memory_layers=0,
    memory_mlp=0,
    match_memory=True,
    fine_layers=True,
    appraise=True,
    draw_prompts=True,
    neck_layers=3,
    fusion_layers=2,
    pixel_mean=(127 / 255,) * 3,
    pixel_std=(128 / 255,) * 3,
)

PRESETS: dict[str, ModelConfig] = {
    **{
        f"sam2-{size}": ModelConfig(f"sam2-{size}", trunk, occlusion_memory=False, pointer_time=False)
        for size, trunk in _TRUNKS.items()
    },
    **{f"sam2.1-{size}": ModelConfig(f"sam2.1-{size}", trunk) for size, trunk in _TRUNKS.items()},
    "nano": NANO,
}
"""The eight official models and the bundled one, by catalogue name."""
