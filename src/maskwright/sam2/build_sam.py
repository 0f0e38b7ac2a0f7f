"""``sam2.build_sam``: models by the names of their official configuration files."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from maskwright.config import ModelConfig
from maskwright.model.sam2 import SAM2
from maskwright.runtime.select import available_devices, choose
from maskwright.sam2.base import SAM2Base
from maskwright.sam2.configs import settings
from maskwright.sam2.sam2_video_predictor import SAM2VideoPredictor, SAM2VideoPredictorVOS
from maskwright.weights import catalog, fetch
from maskwright.weights.load import build, load_checkpoint

logger = logging.getLogger(__name__)


def build_sam2(
    config_file: str,
    ckpt_path: str | os.PathLike[str] | None = None,
    device: str | torch.device = "cuda",
    mode: str = "eval",
    hydra_overrides_extra: Sequence[str] = (),
    apply_postprocessing: bool = True,
    **kwargs: Any,
) -> SAM2Base:
    """A model for ``SAM2ImagePredictor``.

    Args:
        config_file: Name of an official configuration, with or without folders, such as
            ``"configs/sam2.1/sam2.1_hiera_t.yaml"``.
        ckpt_path: Model file; None leaves the weights random.
        device: Where to run. Where there is no CUDA, ``"cuda"`` falls back to the best device there is with a
            logged warning; the official function fails.
        mode: ``"eval"``; anything else leaves the model in training mode.
        hydra_overrides_extra: ``++model.image_size=...`` and
            ``++model.sam_mask_decoder_extra_args.dynamic_multimask_...=...``.
        apply_postprocessing: Answer ``multimask_output=False`` with the best of three masks where the single
            one is unstable.
        kwargs: Ignored, as in the official function.

    Raises:
        UnknownModelError: no such configuration.
        NotAvailableError: another override.
        CheckpointError: the file is unreadable or of another network than the configuration.
    """
    chosen = settings(config_file, hydra_overrides_extra, apply_postprocessing=apply_postprocessing)
    network = SAM2(chosen.config) if ckpt_path is None else _read(ckpt_path, chosen.config)
    model = SAM2Base(network, dynamic_multimask_via_stability=chosen.dynamic_multimask)
    return model.to(_device(device)).train(mode != "eval")


def build_sam2_hf(model_id: str, **kwargs: Any) -> SAM2Base:
    """A model by its Hugging Face repository, e.g. ``"facebook/sam2.1-hiera-tiny"``; fetched on first use.

    Raises:
        UnknownModelError: not one of the eight official repositories.
        DownloadError: the checkpoint is neither here nor can it be fetched.
    """
    row = catalog.find(model_id)
    return build_sam2(config_file=row.name, ckpt_path=fetch.locate(row.name), **kwargs)


def build_sam2_video_predictor(
    config_file: str,
    ckpt_path: str | os.PathLike[str] | None = None,
    device: str | torch.device = "cuda",
    mode: str = "eval",
    hydra_overrides_extra: Sequence[str] = (),
    apply_postprocessing: bool = True,
    vos_optimized: bool = False,
    **kwargs: Any,
) -> SAM2VideoPredictor:
    """A predictor for videos.

    Args:
        config_file: As for :func:`build_sam2`, like the following ones.
        ckpt_path: See there.
        device: See there.
        mode: See there.
        hydra_overrides_extra: See there; also ``++model.fill_hole_area=``, ``++model.non_overlap_masks=``,
            ``++model.add_all_frames_to_correct_as_cond=``, ``++model.clear_non_cond_mem_around_input=`` and
            ``++model.binarize_mask_from_pts_for_mem_enc=``.
        apply_postprocessing: Also fill holes of up to 8 cells and remember clicked masks as 0 and 1.
        vos_optimized: Accepted; there is nothing to compile here.
        kwargs: Ignored, as in the official function.

    Raises:
        UnknownModelError: no such configuration.
        NotAvailableError: another override.
        CheckpointError: the file is unreadable or of another network than the configuration.
    """
    chosen = settings(config_file, hydra_overrides_extra, apply_postprocessing=apply_postprocessing)
    config = chosen.config.for_video  # nano's is smaller than for pictures
    network = SAM2(config) if ckpt_path is None else _read(ckpt_path, config)
    kind = SAM2VideoPredictorVOS if vos_optimized else SAM2VideoPredictor
    model = kind(network, dynamic_multimask_via_stability=chosen.dynamic_multimask, **asdict(chosen.video))
    return model.to(_device(device)).train(mode != "eval")


def build_sam2_video_predictor_hf(model_id: str, **kwargs: Any) -> SAM2VideoPredictor:
    """A predictor by its Hugging Face repository; fetched on first use.

    Raises:
        UnknownModelError: not one of the eight official repositories.
        DownloadError: the checkpoint is neither here nor can it be fetched.
    """
    row = catalog.find(model_id)
    return build_sam2_video_predictor(config_file=row.name, ckpt_path=fetch.locate(row.name), **kwargs)


def _read(path: str | os.PathLike[str], config: ModelConfig) -> SAM2:
    """The network of a model file, which has to be the one of the configuration."""
    return build(config, load_checkpoint(path, config=config).state)


def _device(device: str | torch.device) -> torch.device:
    """The device asked for, or the best one where CUDA (the default of the official signature) is missing."""
    here = available_devices()
    if str(device).startswith("cuda") and not any(place.type == "cuda" for place in here):
        logger.warning("there is no CUDA here: running on %s instead of %s", here[0], device)
        return here[0]
    return choose(device).device
