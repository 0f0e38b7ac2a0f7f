"""Small random ``transformers`` models and ours with the same weights, for the tests of parity."""

from __future__ import annotations

from typing import Any

import torch

from maskwright.config import HieraConfig, ModelConfig
from maskwright.model.sam2 import SAM2
from maskwright.weights.keymaps import to_ours

SIZE = 256
CONFIG = ModelConfig(
    name="parity-test",
    trunk=HieraConfig(width=16, heads=1, depths=(1, 2, 3, 2), global_blocks=(4, 5)),
    image_size=SIZE,
    width=128,
    decoder_mlp=96,
    memory_width=64,  # transformers has this width built in
    memory_layers=2,
    memory_mlp=96,
)


def vision_config(config: ModelConfig = CONFIG) -> dict[str, Any]:
    from transformers import Sam2HieraDetConfig

    trunk = config.trunk
    assert isinstance(trunk, HieraConfig)
    backbone = Sam2HieraDetConfig(
        hidden_size=trunk.width,
        num_attention_heads=trunk.heads,
        image_size=[SIZE, SIZE],
        blocks_per_stage=list(trunk.depths),
        embed_dim_per_stage=list(trunk.channels),
        num_attention_heads_per_stage=[trunk.heads * 2**stage for stage in range(4)],
        window_size_per_stage=list(trunk.windows),
        global_attention_blocks=list(trunk.global_blocks),
    )
    return {
        "backbone_config": backbone.to_dict(),
        "backbone_channel_list": list(reversed(trunk.channels)),
        "backbone_feature_sizes": [[SIZE // stride] * 2 for stride in (4, 8, 16)],
        "fpn_hidden_size": config.width,
    }


def head_configs(config: ModelConfig = CONFIG, *, stability: bool = False) -> dict[str, Any]:
    return {
        "prompt_encoder_config": {"hidden_size": config.width, "image_size": SIZE},
        "mask_decoder_config": {
            "hidden_size": config.width,
            "mlp_dim": config.decoder_mlp,
            "iou_head_hidden_dim": config.width,
            "dynamic_multimask_via_stability": stability,
        },
    }


def their_video_model(
    config: ModelConfig = CONFIG, *, stability: bool = False, score_bias: float = 0.0
) -> Any:
    """A random ``Sam2VideoModel`` of the shape of ``config``; ``score_bias`` makes objects more visible."""
    from transformers import Sam2VideoConfig, Sam2VideoModel

    shape = Sam2VideoConfig(
        vision_config=vision_config(config),
        **head_configs(config, stability=stability),
        image_size=SIZE,
        enable_occlusion_spatial_embedding=config.occlusion_memory,
        enable_temporal_pos_encoding_for_object_pointers=config.pointer_time,
        memory_attention_hidden_size=config.width,
        memory_attention_num_layers=config.memory_layers,
        memory_attention_feed_forward_hidden_size=config.memory_mlp,
        memory_attention_rope_feat_sizes=[config.grid, config.grid],
        memory_encoder_hidden_size=config.width,
        memory_encoder_output_channels=config.memory_width,
        mask_downsampler_embed_dim=config.width,
        memory_fuser_embed_dim=config.width,
        memory_fuser_intermediate_dim=config.width * 4,
    )
    model = randomised(Sam2VideoModel(shape))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "memory_attention" in name and name.endswith(("q_proj.weight", "k_proj.weight")):
                parameter.mul_(2)  # sharper attention, so that memories and their order matter
        model.mask_decoder.pred_obj_score_head.proj_out.bias.add_(score_bias)
    return model


def randomised(model: Any) -> Any:
    """Weights large enough that every part matters (the library's own start has zeros and 1e-6 gains)."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() < 2:
                parameter.copy_(0.1 * noise if name.endswith("bias") else 0.8 + 0.1 * noise)
            else:
                fan_in = parameter[0].numel()
                parameter.copy_(noise / fan_in**0.5)
        shared = model.shared_image_embedding.positional_embedding
        shared.copy_(torch.randn(shared.shape, generator=generator))
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(shared)  # one tensor in real files
    return model.eval()


def ours(theirs: Any, config: ModelConfig = CONFIG) -> SAM2:
    """Our network with the weights of theirs; a model for pictures leaves our memory random."""
    from transformers import Sam2VideoModel

    model = SAM2(config)
    state, strange = to_ours(theirs.state_dict(), "transformers")
    report = model.load_state_dict(state, strict=False)
    assert not strange
    assert not report.unexpected_keys
    missing = {key.partition(".")[0] for key in report.missing_keys}
    assert isinstance(theirs, Sam2VideoModel) is not bool(missing), missing
    return model.eval()
