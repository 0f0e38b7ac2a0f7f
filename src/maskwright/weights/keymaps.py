"""Names of the same parameter in three layouts: ours, the official package's, transformers'.

``{i}`` stands for a number, the first one in the name. A row of ``MODULES`` means ``.weight`` and
``.bias``; a row of ``TENSORS`` is one tensor. transformers' ``Sam2VideoModel`` has all of them, its
``Sam2Model`` those that pictures need; the rest are the memory's (see ``is_memory``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Layout = Literal["maskwright", "official", "transformers"]

_NUMBER = re.compile(r"(?<=[.\[])\d+(?=[.\]]|$)")


class Names(NamedTuple):
    """One parameter, or one family of numbered ones, in the three layouts."""

    ours: str
    official: str
    transformers: str


def _attention(ours: str, official: str, transformers: str) -> tuple[Names, ...]:
    return (
        Names(f"{ours}.query", f"{official}.q_proj", f"{transformers}.q_proj"),
        Names(f"{ours}.key", f"{official}.k_proj", f"{transformers}.k_proj"),
        Names(f"{ours}.value", f"{official}.v_proj", f"{transformers}.v_proj"),
        Names(f"{ours}.out", f"{official}.out_proj", f"{transformers}.o_proj"),
    )


def _three_layers(ours: str, official: str, transformers: str) -> tuple[Names, ...]:
    return (
        Names(f"{ours}.layers.0", f"{official}.layers.0", f"{transformers}.proj_in"),
        Names(f"{ours}.layers.1", f"{official}.layers.1", f"{transformers}.layers.0"),
        Names(f"{ours}.layers.2", f"{official}.layers.2", f"{transformers}.proj_out"),
    )


_TRUNK_MODULES = (
    Names(
        "trunk.patch",
        "image_encoder.trunk.patch_embed.proj",
        "vision_encoder.backbone.patch_embed.projection",
    ),
    *(
        Names(
            f"trunk.blocks.{{i}}.{ours}",
            f"image_encoder.trunk.blocks.{{i}}.{official}",
            f"vision_encoder.backbone.blocks.{{i}}.{transformers}",
        )
        for ours, official, transformers in (
            ("norm1", "norm1", "layer_norm1"),
            ("attention.qkv", "attn.qkv", "attn.qkv"),
            ("attention.out", "attn.proj", "attn.proj"),
            ("norm2", "norm2", "layer_norm2"),
            ("mlp.layers.0", "mlp.layers.0", "mlp.proj_in"),
            ("mlp.layers.1", "mlp.layers.1", "mlp.proj_out"),
            ("widen", "proj", "proj"),
        )
    ),
    # the official neck counts from the coarsest level
    Names("neck.laterals.0", "image_encoder.neck.convs.3.conv", "vision_encoder.neck.convs.3"),
    Names("neck.laterals.1", "image_encoder.neck.convs.2.conv", "vision_encoder.neck.convs.2"),
    Names("neck.laterals.2", "image_encoder.neck.convs.1.conv", "vision_encoder.neck.convs.1"),
    Names("neck.laterals.3", "image_encoder.neck.convs.0.conv", "vision_encoder.neck.convs.0"),
)

_PROMPT_MODULES = tuple(
    Names(f"prompt_encoder.{ours}", f"sam_prompt_encoder.{official}", f"prompt_encoder.{transformers}")
    for ours, official, transformers in (
        ("mask_stem", "mask_downscaling.0", "mask_embed.conv1"),
        ("mask_stem_norm", "mask_downscaling.1", "mask_embed.layer_norm1"),
        ("mask_body", "mask_downscaling.3", "mask_embed.conv2"),
        ("mask_body_norm", "mask_downscaling.4", "mask_embed.layer_norm2"),
        ("mask_out", "mask_downscaling.6", "mask_embed.conv3"),
    )
)

_TWO_WAY = ("mask_decoder.transformer", "sam_mask_decoder.transformer", "mask_decoder.transformer")
_TWO_WAY_BLOCK = ("blocks.{i}", "layers.{i}", "layers.{i}")


def _two_way(ours: str, official: str, transformers: str) -> tuple[str, str, str]:
    a, b, c = _TWO_WAY
    return f"{a}.{ours}", f"{b}.{official}", f"{c}.{transformers}"


def _two_way_block(ours: str, official: str, transformers: str) -> tuple[str, str, str]:
    a, b, c = _TWO_WAY_BLOCK
    return _two_way(f"{a}.{ours}", f"{b}.{official}", f"{c}.{transformers}")


_DECODER_MODULES = (
    *_attention(*_two_way_block("self_attention", "self_attn", "self_attn")),
    *_attention(*_two_way_block("token_to_image", "cross_attn_token_to_image", "cross_attn_token_to_image")),
    *_attention(*_two_way_block("image_to_token", "cross_attn_image_to_token", "cross_attn_image_to_token")),
    *(Names(*_two_way_block(f"norm{n}", f"norm{n}", f"layer_norm{n}")) for n in (1, 2, 3, 4)),
    Names(*_two_way_block("mlp.layers.0", "mlp.layers.0", "mlp.proj_in")),
    Names(*_two_way_block("mlp.layers.1", "mlp.layers.1", "mlp.proj_out")),
    *_attention(*_two_way("final_attention", "final_attn_token_to_image", "final_attn_token_to_image")),
    Names(*_two_way("final_norm", "norm_final_attn", "layer_norm_final_attn")),
    *(
        Names(f"mask_decoder.{ours}", f"sam_mask_decoder.{official}", f"mask_decoder.{transformers}")
        for ours, official, transformers in (
            ("upscale_mid", "output_upscaling.0", "upscale_conv1"),
            ("upscale_norm", "output_upscaling.1", "upscale_layer_norm"),
            ("upscale_high", "output_upscaling.3", "upscale_conv2"),
            ("high_projection", "conv_s0", "conv_s0"),
            ("mid_projection", "conv_s1", "conv_s1"),
        )
    ),
    *_three_layers(
        "mask_decoder.mask_heads.{i}",
        "sam_mask_decoder.output_hypernetworks_mlps.{i}",
        "mask_decoder.output_hypernetworks_mlps.{i}",
    ),
    *_three_layers(
        "mask_decoder.iou_head", "sam_mask_decoder.iou_prediction_head", "mask_decoder.iou_prediction_head"
    ),
    *_three_layers(
        "mask_decoder.object_head", "sam_mask_decoder.pred_obj_score_head", "mask_decoder.pred_obj_score_head"
    ),
)

_MEMORY_LAYER = "memory_attention.layers.{i}"
_DOWNSAMPLER = "memory_encoder.mask_downsampler"

_MEMORY_MODULES = (
    *_attention(
        f"{_MEMORY_LAYER}.self_attention", f"{_MEMORY_LAYER}.self_attn", f"{_MEMORY_LAYER}.self_attn"
    ),
    *_attention(
        f"{_MEMORY_LAYER}.cross_attention",
        f"{_MEMORY_LAYER}.cross_attn_image",
        f"{_MEMORY_LAYER}.cross_attn_image",
    ),
    *(
        Names(f"{_MEMORY_LAYER}.{ours}", f"{_MEMORY_LAYER}.{official}", f"{_MEMORY_LAYER}.{transformers}")
        for ours, official, transformers in (
            ("expand", "linear1", "linear1"),
            ("reduce", "linear2", "linear2"),
            ("norm1", "norm1", "layer_norm1"),
            ("norm2", "norm2", "layer_norm2"),
            ("norm3", "norm3", "layer_norm3"),
        )
    ),
    Names("memory_attention.norm", "memory_attention.norm", "memory_attention.layer_norm"),
    *(
        Names(
            f"{_DOWNSAMPLER}.{kind}.{i}",
            f"{_DOWNSAMPLER}.encoder.{3 * i + offset}",
            f"{_DOWNSAMPLER}.layers.{i}.{theirs}",
        )
        for i in range(4)
        for kind, offset, theirs in (("convs", 0, "conv"), ("norms", 1, "layer_norm"))
    ),
    Names(f"{_DOWNSAMPLER}.out", f"{_DOWNSAMPLER}.encoder.12", f"{_DOWNSAMPLER}.final_conv"),
    *(
        Names(
            f"memory_encoder.fusers.{{i}}.{ours}",
            f"memory_encoder.fuser.layers.{{i}}.{official}",
            f"memory_encoder.memory_fuser.layers.{{i}}.{transformers}",
        )
        for ours, official, transformers in (
            ("depthwise", "dwconv", "depthwise_conv"),
            ("norm", "norm", "layer_norm"),
            ("expand", "pwconv1", "pointwise_conv1"),
            ("reduce", "pwconv2", "pointwise_conv2"),
        )
    ),
    Names(
        "memory_encoder.feature_projection",
        "memory_encoder.pix_feat_proj",
        "memory_encoder.feature_projection",
    ),
    Names("memory_encoder.out", "memory_encoder.out_proj", "memory_encoder.projection"),
    *_three_layers("pointer_projection", "obj_ptr_proj", "object_pointer_proj"),
    Names("pointer_mask", "mask_downsample", "mask_downsample"),
    Names("pointer_time_projection", "obj_ptr_tpos_proj", "temporal_positional_encoding_projection_layer"),
)

MODULES = (*_TRUNK_MODULES, *_PROMPT_MODULES, *_DECODER_MODULES, *_MEMORY_MODULES)
"""Rows that stand for a weight and a bias."""

_MEMORY_TENSORS = (
    Names("memory_time", "maskmem_tpos_enc", "memory_temporal_positional_encoding"),
    Names("no_memory_position", "no_mem_pos_enc", "no_memory_positional_encoding"),
    Names("no_object_pointer", "no_obj_ptr", "no_object_pointer"),
    Names("no_object_memory", "no_obj_embed_spatial", "occlusion_spatial_embedding_parameter"),
    Names(
        "memory_encoder.fusers.{i}.gain",
        "memory_encoder.fuser.layers.{i}.gamma",
        "memory_encoder.memory_fuser.layers.{i}.scale",
    ),
)

POSITION = Names(
    "prompt_encoder.position.frequencies_2C",
    "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    "shared_image_embedding.positional_embedding",
)
SECOND_POSITION = "prompt_encoder.shared_embedding.positional_embedding"
"""transformers holds the frequencies twice, for clicks and for the grid. Trained models have them equal;
in randomly initialised ones they differ, and then they are none of ours."""
LABELS = Names(
    "prompt_encoder.point_labels.{i}",
    "sam_prompt_encoder.point_embeddings.{i}.weight",
    "prompt_encoder.point_embed.weight[{i}]",
)
"""transformers stacks the four label embeddings in one tensor; the bracket is a row of it."""
STACKED_LABELS = "prompt_encoder.point_embed.weight"
NUM_LABELS = 4

TENSORS = (
    Names("trunk.position", "image_encoder.trunk.pos_embed", "vision_encoder.backbone.pos_embed"),
    Names(
        "trunk.window_position",
        "image_encoder.trunk.pos_embed_window",
        "vision_encoder.backbone.pos_embed_window",
    ),
    Names("no_memory", "no_mem_embed", "no_memory_embedding"),
    POSITION,
    LABELS,
    Names(
        "prompt_encoder.no_point",
        "sam_prompt_encoder.not_a_point_embed.weight",
        "prompt_encoder.not_a_point_embed.weight",
    ),
    Names(
        "prompt_encoder.no_mask",
        "sam_prompt_encoder.no_mask_embed.weight",
        "prompt_encoder.no_mask_embed.weight",
    ),
    Names(
        "mask_decoder.object_token",
        "sam_mask_decoder.obj_score_token.weight",
        "mask_decoder.obj_score_token.weight",
    ),
    Names("mask_decoder.iou_token", "sam_mask_decoder.iou_token.weight", "mask_decoder.iou_token.weight"),
    Names(
        "mask_decoder.mask_tokens", "sam_mask_decoder.mask_tokens.weight", "mask_decoder.mask_tokens.weight"
    ),
    *_MEMORY_TENSORS,
)
"""Rows that stand for one tensor."""


def is_memory(ours: str) -> bool:
    """Whether one of our names belongs to the memory half, which pictures do not need."""
    heads = ("memory_", "pointer_", "no_memory_position", "no_object_")
    return ours.startswith(heads)


def rename(names: Iterable[str], source: Layout, target: Layout) -> dict[str, str | None]:
    """For each name its name in the other layout, or None where the other layout has nothing like it."""
    table = _table(source, target)
    return {name: table.get(name) or _numbered(table, name) for name in names}


def _numbered(table: Mapping[str, str], name: str) -> str | None:
    """Look up a member of a family, which differ in the first number of their names."""
    number = _NUMBER.search(name)
    if number is None:
        return None
    target = table.get(f"{name[: number.start()]}{{i}}{name[number.end() :]}")
    return target and target.replace("{i}", number[0])


@cache
def _table(source: Layout, target: Layout) -> dict[str, str]:
    columns: dict[Layout, int] = {"maskwright": 0, "official": 1, "transformers": 2}
    a, b = columns[source], columns[target]
    table = {row[a]: row[b] for row in TENSORS}
    for row in MODULES:
        for suffix in (".weight", ".bias"):
            table[row[a] + suffix] = row[b] + suffix
    return table


def to_ours(state: Mapping[str, Tensor], source: Layout) -> tuple[dict[str, Tensor], list[str]]:
    """Rename a state dict of another layout. Nothing is copied.

    Returns:
        The state under our names, and the names for which we have none.
    """
    state = dict(state)
    if source == "transformers":
        _unstack(state)
    renamed, strange = {}, []
    for name, ours in rename(state, source, "maskwright").items():
        if ours is None:
            strange.append(name)
        else:
            renamed[ours] = state[name]
    return renamed, strange


def from_ours(state: Mapping[str, Tensor], target: Layout) -> dict[str, Tensor]:
    """The same state under the names of another layout.

    For transformers' ``Sam2Model``, drop the memory half first (``is_memory``).

    Raises:
        KeyError: the other layout has no such parameter (nano's own ones).
    """
    renamed = {}
    for name, theirs in rename(state, "maskwright", target).items():
        if theirs is None:
            raise KeyError(name)
        renamed[theirs] = state[name]
    if target == "transformers":
        _stack(renamed)
    return renamed


def _unstack(state: dict[str, Tensor]) -> None:
    """Give transformers' label rows a name each, and the frequencies the first of their two names.

    A second set of frequencies with other values stays, and so turns out to be strange.
    """
    if STACKED_LABELS in state:
        stacked = state.pop(STACKED_LABELS)
        for i, row in enumerate(stacked.split(1)):
            state[LABELS.transformers.replace("{i}", str(i))] = row
    first, second = state.get(POSITION.transformers), state.get(SECOND_POSITION)
    if second is not None and (first is None or first.is_meta or torch.equal(first, second)):
        state[POSITION.transformers] = state.pop(SECOND_POSITION)


def _stack(state: dict[str, Tensor]) -> None:
    rows = [state.pop(LABELS.transformers.replace("{i}", str(i))) for i in range(NUM_LABELS)]
    state[STACKED_LABELS] = torch.cat(rows)
    state[SECOND_POSITION] = state[POSITION.transformers]
