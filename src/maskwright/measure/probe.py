"""A runtime that notes when each of its verbs began and ended, and what that says about a piece of work."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from maskwright.config import ModelConfig
from maskwright.model.candidates import Chosen
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.memory_bank import MemoryBank
from maskwright.model.prompt_encoder import PromptTensors
from maskwright.model.sam2 import Decoded, Slots
from maskwright.runtime.protocol import Moment, Runtime

T = TypeVar("T")
VERBS = ("encode", "recall", "decode", "remember")


class Event(NamedTuple):
    """One call of a verb, in seconds of ``time.perf_counter``."""

    stage: str
    began: float
    ended: float


class Probe:
    """Runs what another runtime runs; while it listens, the device has finished at both ends of each verb."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.listening = False
        """Off, nothing is noted and nothing waits for the device."""
        self.events: list[Event] = []

    @property
    def config(self) -> ModelConfig:
        return self._runtime.config

    @property
    def device(self) -> torch.device:
        return self._runtime.device

    @property
    def dtype(self) -> torch.dtype:
        return self._runtime.dtype

    def fingerprint(self) -> str:
        return self._runtime.fingerprint()

    def encode_image(self, pixels_B3HW: Tensor) -> ImageFeatures:
        """Bringing the pixels to the device counts as ``resize``, not as the model's work."""
        if self.listening:
            pixels_B3HW = pixels_B3HW.to(self.device)
        return self._noted("encode", lambda: self._runtime.encode_image(pixels_B3HW))

    def without_memory(self, features: ImageFeatures) -> ImageFeatures:
        return self._noted("encode", lambda: self._runtime.without_memory(features))

    def decode(self, features: ImageFeatures, prompts: PromptTensors) -> Decoded:
        return self._noted("decode", lambda: self._runtime.decode(features, prompts))

    def adopt(self, features: ImageFeatures, masks_OHW: Tensor) -> Chosen:
        return self._noted("decode", lambda: self._runtime.adopt(features, masks_OHW))

    def recall(
        self, features: ImageFeatures, bank: MemoryBank, now: Moment, *, masked: bool
    ) -> ImageFeatures:
        return self._noted("recall", lambda: self._runtime.recall(features, bank, now, masked=masked))

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
        about = (frame_O, prompted_O, binary_O)
        self._noted("remember", lambda: self._runtime.remember(features, chosen, bank, slots, *about))

    def _noted(self, stage: str, call: Callable[[], T]) -> T:
        if not self.listening:
            return call()
        finish(self.device)
        began = time.perf_counter()
        result = call()
        finish(self.device)
        self.events.append(Event(stage, began, time.perf_counter()))
        return result


def finish(device: torch.device) -> None:
    """Wait until the device has done everything that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def stages(events: Sequence[Event], began: float, ended: float) -> dict[str, float]:
    """Seconds by stage of a piece of work between two times; they add up to its length.

    What comes before an encoding is ``resize``, what comes after a decoding ``upscale``, and every other gap
    ``other``.
    """
    spent: dict[str, float] = defaultdict(float)
    before, last = began, ""
    for event in events:
        spent[_gap(last, event.stage)] += event.began - before
        spent[event.stage] += event.ended - event.began
        before, last = event.ended, event.stage
    spent[_gap(last, "")] += ended - before
    return dict(spent)


def _gap(after: str, before: str) -> str:
    if before == "encode":
        return "other" if after == "encode" else "resize"
    return "upscale" if after == "decode" else "other"
