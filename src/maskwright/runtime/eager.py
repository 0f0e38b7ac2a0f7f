"""The plain runtime: PyTorch's own kernels, one call after the other. The reference for every faster one."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from maskwright.config import SIZE_MULTIPLE, EfficientNetConfig, ModelConfig
from maskwright.model.candidates import Chosen
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.memory_bank import MemoryBank
from maskwright.model.prompt_encoder import PromptTensors
from maskwright.model.sam2 import SAM2, Decoded, Slots
from maskwright.runtime.absorb import absorb_decoder
from maskwright.runtime.absorb_memory import absorb_memory
from maskwright.runtime.bands import work_in_bands
from maskwright.runtime.cpu.pack import pack
from maskwright.runtime.fold import fold_normalisation, merge_neck
from maskwright.runtime.protocol import Moment
from maskwright.runtime.select import Choice

_SAMPLES = 256
"""Numbers of each weight that go into the fingerprint."""


class Network(Protocol):
    """What is asked of a network: ``SAM2``, or what does the same in another way."""

    @property
    def config(self) -> ModelConfig: ...

    def encode_image(self, pixels_BCHW: Tensor, /) -> ImageFeatures: ...

    def without_memory(self, features: ImageFeatures, /) -> ImageFeatures: ...

    def decode(self, features: ImageFeatures, prompts: PromptTensors, /) -> Decoded: ...

    def adopt(self, features: ImageFeatures, masks_OHW: Tensor, /) -> Chosen: ...

    def recall(
        self,
        features: ImageFeatures,
        bank: MemoryBank,
        frame_O: Tensor,
        direction: Tensor,
        pointer_span: Tensor,
        /,
        *,
        masked: bool,
    ) -> ImageFeatures: ...

    def encode_memory(
        self, features: ImageFeatures, logits_OHW: Tensor, object_score_O: Tensor, binary_O: Tensor, /
    ) -> Tensor: ...

    def store(
        self,
        memory_OID: Tensor,
        chosen: Chosen,
        bank: MemoryBank,
        slots: Slots,
        frame_O: Tensor,
        prompted_O: Tensor,
        /,
    ) -> MemoryBank: ...

    def state_dict(self) -> dict[str, Tensor]: ...


def place(network: SAM2, choice: Choice, *, packed: bool = True) -> SAM2:
    """Put a network where it will run, for inference only.

    The finest levels pass one convolution instead of two (see ``runtime.fold``). On CPUs, trunk and memory
    attention of the official models get the parts of ``runtime.cpu``, and decoders work as in
    ``runtime.absorb``. In float32 on CUDA, memories are attended to as in ``runtime.absorb_memory``.
    Convolutional trunks get channels-last weights, which on CPUs are quicker, and lose their normalisations
    (see ``runtime.fold``); on CPUs they also work in bands that fit the caches. Without ``packed`` there are
    no parts for CPUs, of which a compiler could make nothing.
    """
    on_cpu = choice.device.type == "cpu" and packed
    network = merge_neck(network.to(choice.device).requires_grad_(False))
    if choice.device.type == "cuda" and choice.dtype is torch.float32:
        absorb_memory(network)  # with half precision PyTorch has a quicker kernel, for equal widths only
    if on_cpu:
        absorb_decoder(network)
        pack(network, choice.maps, int8=choice.dtype is torch.int8)
    if isinstance(network.config.trunk, EfficientNetConfig):
        fold_normalisation(network)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if on_cpu:
            work_in_bands(network)
    return network


class Eager:
    """Runs a network that is on the device of ``choice`` (see :func:`place`) and in evaluation mode.

    The weights stay float32. With another compute dtype the verbs run under ``torch.autocast``, which keeps
    normalisations and softmax in float32; with float32 nothing is cast, so results are exact (and an autocast
    region of the caller's, if there is one, applies as it would to any module).

    Of nano only ``encode_image`` follows the compute dtype, and its features are float32: the rest takes no
    less time in half precision, and its memory finds places by small differences of large numbers.
    """

    def __init__(self, network: Network, choice: Choice) -> None:
        self._network = network
        self._choice = choice
        self._maps = choice.maps
        self._later = torch.float32 if network.config.match_memory else self._maps

    @property
    def config(self) -> ModelConfig:
        return self._network.config

    @property
    def device(self) -> torch.device:
        return self._choice.device

    @property
    def dtype(self) -> torch.dtype:
        return self._choice.dtype

    @torch.inference_mode()
    def encode_image(self, pixels_B3HW: Tensor) -> ImageFeatures:
        with self._precision(self._maps):
            features = self._network.encode_image(pixels_B3HW.to(self.device, non_blocking=True))
        return self._stored(features)

    @torch.inference_mode()
    def without_memory(self, features: ImageFeatures) -> ImageFeatures:
        return self._stored(self._network.without_memory(features))

    @torch.inference_mode()
    def decode(self, features: ImageFeatures, prompts: PromptTensors) -> Decoded:
        with self._precision(self._later):
            decoded = self._network.decode(self._stored(features), self._here(prompts))
        return Decoded(*(part.float() for part in decoded))

    @torch.inference_mode()
    def adopt(self, features: ImageFeatures, masks_OHW: Tensor) -> Chosen:
        with self._precision(self._later):
            chosen = self._network.adopt(self._stored(features), masks_OHW.to(self.device))
        return Chosen(*(part.float() for part in chosen))

    @torch.inference_mode()
    def recall(
        self, features: ImageFeatures, bank: MemoryBank, now: Moment, *, masked: bool
    ) -> ImageFeatures:
        direction = torch.full((), now.direction, device=self.device)
        span = torch.full((), float(now.pointer_span), device=self.device)
        frame_O = now.frame_O.to(self.device, non_blocking=True)
        return self.recall_at(features, bank, frame_O, direction, span, masked=masked)

    @torch.inference_mode()
    def recall_at(
        self,
        features: ImageFeatures,
        bank: MemoryBank,
        frame_O: Tensor,
        direction: Tensor,
        pointer_span: Tensor,
        *,
        masked: bool,
    ) -> ImageFeatures:
        """:meth:`recall` with a moment that is on the device already, in tensors as for ``SAM2.recall``."""
        with self._precision(self._later):
            recalled = self._network.recall(
                self._stored(features), bank, frame_O, direction, pointer_span, masked=masked
            )
        return self._stored(recalled)

    @torch.inference_mode()
    def remember(
        self,
        features: ImageFeatures,
        chosen: Chosen,
        bank: MemoryBank,
        slots: Slots,
        frame_O: Tensor,
        prompted_O: Tensor,
        binary_O: Tensor,
    ) -> None:
        binary_O = binary_O.to(self.device, non_blocking=True)
        memory_OID = self.encode_memory(features, chosen.logits_OHW, chosen.object_score_O, binary_O)
        self.store(memory_OID, chosen, bank, slots, frame_O, prompted_O)

    @torch.inference_mode()
    def encode_memory(
        self, features: ImageFeatures, logits_OHW: Tensor, object_score_O: Tensor, binary_O: Tensor
    ) -> Tensor:
        """The part of :meth:`remember` that computes: ``SAM2.encode_memory``."""
        with self._precision(self._later):
            return self._network.encode_memory(self._stored(features), logits_OHW, object_score_O, binary_O)

    @torch.inference_mode()
    def store(
        self,
        memory_OID: Tensor,
        chosen: Chosen,
        bank: MemoryBank,
        slots: Slots,
        frame_O: Tensor,
        prompted_O: Tensor,
    ) -> None:
        """The part of :meth:`remember` that writes: ``SAM2.store``."""
        place = Slots(*(part.to(self.device, non_blocking=True) for part in slots))
        about = (part.to(self.device, non_blocking=True) for part in (frame_O, prompted_O))
        self._network.store(memory_OID, chosen, bank, place, *about)

    def _stored(self, features: ImageFeatures) -> ImageFeatures:
        """Features in the dtype that the verbs after ``encode_image`` run in."""
        low, mid, high = (level.to(self._later) for level in features.levels)
        return ImageFeatures(low, mid, high, features.presence_B)

    def _here(self, prompts: PromptTensors) -> PromptTensors:
        """The same prompts on this runtime's device."""
        masks, given = prompts.masks_BPHW, prompts.mask_given_BP
        return PromptTensors(
            prompts.points_BPK2.to(self.device),
            prompts.labels_BPK.to(self.device),
            None if masks is None else masks.to(self.device),
            None if given is None else given.to(self.device),
        )

    def fingerprint(self) -> str:
        """Tells networks apart by configuration and samples of every weight, not by name or input size."""
        shape = replace(self.config.at(SIZE_MULTIPLE), name="")
        digest = hashlib.sha256(repr(shape).encode())
        for key, weight in sorted(self._network.state_dict().items()):
            step = max(1, weight.numel() // _SAMPLES)
            samples = weight.flatten()[::step].float().cpu().numpy()
            digest.update(f"{key}{tuple(weight.shape)}".encode())
            digest.update(samples.tobytes())
        return digest.hexdigest()[:32]

    def _precision(self, dtype: torch.dtype) -> contextlib.AbstractContextManager[object]:
        if dtype is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype)
