"""The verbs through ``torch.compile``: few compilations, which are kept for the next process.

Compiling takes from seconds to minutes, and everything is compiled for fixed shapes. So numbers that vary
from call to call are padded up to buckets (``runtime.buckets``): prompts, points and objects to powers of
two, memories and pointers to what a bank holds once it is full. Pictures, where padding would cost most, are
encoded one by one. What is larger than the largest bucket is not compiled.

Opt-in: on processors slower than the default, which has parts of its own for them (docs/log.md), and not run
on a GPU yet.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor

from maskwright.config import ModelConfig
from maskwright.errors import InputError
from maskwright.model.candidates import Chosen
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.memory_bank import MemoryBank
from maskwright.model.prompt_encoder import PromptTensors
from maskwright.model.sam2 import SAM2, Decoded, Slots
from maskwright.runtime.batching import OBJECTS_PER_CALL, SMALLEST_BUCKET
from maskwright.runtime.buckets import bucket, padded_bank, padded_features, padded_prompts, repeated
from maskwright.runtime.eager import Eager, place
from maskwright.runtime.nested import mapped
from maskwright.runtime.select import Choice
from maskwright.weights.fetch import cache_folder

INDUCTOR = "inductor"
Backend = str | Callable[..., Any]
"""What ``torch.compile`` takes for one: a name, or a function of a graph and its inputs."""

MAX_OBJECTS = OBJECTS_PER_CALL
"""Objects of all pictures in one ``decode``."""
MAX_POINTS = 16
"""Points of one object."""
MAX_REMEMBERED = 8
"""Objects of a video in one call."""
MAX_PROMPTED = 8
"""Frames in which an object was prompted and whose memories are held."""
MAX_COMPILED = 64
"""Functions in all; what would be compiled after that runs as it is."""

CACHE_VARIABLE, CACHE_SWITCH = "TORCHINDUCTOR_CACHE_DIR", "TORCHINDUCTOR_FX_GRAPH_CACHE"

_log = logging.getLogger(__name__)


def wrap(network: SAM2, choice: Choice, *, backend: Backend = INDUCTOR) -> Eager:
    """The plain runtime of a network whose verbs are compiled, each when it is first called.

    Raises:
        InputError: neither on a processor nor on CUDA, or in int8.
    """
    if choice.device.type not in ("cpu", "cuda"):
        raise InputError(
            f"runtime='compiled' is for processors and CUDA devices, not for {choice.device}; leave it out"
        )
    if choice.dtype is torch.int8:
        raise InputError(
            "int8 is made by layers of our own, which are not compiled; leave out runtime='compiled', or use "
            "dtype='fast'"
        )
    return Eager(Compiled(place(network, choice, packed=False), backend=backend), choice)


class Compiled:
    """A network whose verbs are compiled; what they return is that of the network, to within rounding.

    Any number of threads may share one. What fails to compile is logged once; then nothing more is compiled,
    and the network runs as it is.
    """

    def __init__(self, network: SAM2, *, backend: Backend = INDUCTOR) -> None:
        self._network = network
        self._compiler = Compiler(backend)

    @property
    def config(self) -> ModelConfig:
        return self._network.config

    @property
    def num_compiled(self) -> int:
        """Functions that were compiled so far."""
        return self._compiler.num_compiled

    def state_dict(self) -> dict[str, Tensor]:
        return self._network.state_dict()

    def encode_image(self, pixels_BCHW: Tensor) -> ImageFeatures:
        each = [self._compiler.run(self._network.encode_image, picture[None]) for picture in pixels_BCHW]
        if len(each) == 1:
            return ImageFeatures(*each[0].levels)
        return ImageFeatures(*(torch.cat(level) for level in zip(*(one.levels for one in each), strict=True)))

    def without_memory(self, features: ImageFeatures) -> ImageFeatures:
        return self._network.without_memory(features)

    def decode(self, features: ImageFeatures, prompts: PromptTensors) -> Decoded:
        pictures, objects, points = prompts.labels_BPK.shape
        shape = bucket(pictures), bucket(objects), max(bucket(points), SMALLEST_BUCKET)
        if shape[0] * shape[1] > MAX_OBJECTS or shape[2] > MAX_POINTS:
            return self._network.decode(features, prompts)
        if features.presence_B is None and self.config.match_memory:
            # one form instead of two: NaN says the same
            unsure_B = features.low_BCHW.new_full((len(features.low_BCHW),), torch.nan)
            features = features._replace(presence_B=unsure_B)
        asked = padded_features(features, shape[0]), padded_prompts(prompts, *shape)
        decoded = self._compiler.run(self._network.decode, *asked)
        return Decoded(*(part[:pictures, :objects] for part in decoded))

    def adopt(self, features: ImageFeatures, masks_OHW: Tensor) -> Chosen:
        return self._network.adopt(features, masks_OHW)

    def recall(
        self,
        features: ImageFeatures,
        bank: MemoryBank,
        frame_O: Tensor,
        direction: Tensor,
        pointer_span: Tensor,
        *,
        masked: bool,
    ) -> ImageFeatures:
        when = (direction, pointer_span)
        num, slots = len(frame_O), (bank.frames_OS.shape[1], bank.pointer_frames_OP.shape[1])
        recent = self.config.num_memories - 1, self.config.num_pointers - 1
        prompted = bucket(max(1, slots[0] - recent[0], slots[1] - recent[1]))
        if bucket(num) > MAX_REMEMBERED or prompted > MAX_PROMPTED:
            return self._network.recall(features, bank, frame_O, *when, masked=masked)
        full = recent[0] + prompted, recent[1] + prompted
        recalled: ImageFeatures = self._compiler.run(
            self._network.recall,
            features,
            padded_bank(bank, bucket(num), *full),
            repeated(frame_O, bucket(num)),
            *when,
            masked=masked or slots != full,
        )
        low, mid, high = (level[:num] for level in recalled.levels)
        return ImageFeatures(
            low, mid, high, None if recalled.presence_B is None else recalled.presence_B[:num]
        )

    def encode_memory(
        self, features: ImageFeatures, logits_OHW: Tensor, object_score_O: Tensor, binary_O: Tensor
    ) -> Tensor:
        num, asked = len(logits_OHW), (logits_OHW, object_score_O, binary_O)
        if bucket(num) > MAX_REMEMBERED:
            return self._network.encode_memory(features, *asked)
        padded = (repeated(part, bucket(num)) for part in asked)
        features = padded_features(features, bucket(num))
        memory_OID: Tensor = self._compiler.run(self._network.encode_memory, features, *padded)
        return memory_OID[:num]

    def store(
        self,
        memory_OID: Tensor,
        chosen: Chosen,
        bank: MemoryBank,
        slots: Slots,
        frame_O: Tensor,
        prompted_O: Tensor,
    ) -> MemoryBank:
        return self._network.store(memory_OID, chosen, bank, slots, frame_O, prompted_O)


class Compiler:
    """Compiles methods, once for every form of their inputs: structure, shapes, dtypes and keywords."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._functions: dict[Hashable, Callable[..., Any]] = {}
        self._failed = False
        self._lock = threading.Lock()

    @property
    def num_compiled(self) -> int:
        return len(self._functions)

    def run(self, work: Callable[..., Any], *inputs: Any, **settings: bool) -> Any:
        """``work(*inputs, **settings)``, compiled if that is possible; ``work`` is a method."""
        # not under inference_mode: what is compiled there does not take tensors from elsewhere
        with torch.inference_mode(False), torch.no_grad():
            given = mapped(_ordinary, inputs)
            key = (work.__name__, _form(given), *settings.items())
            try:
                function = self._functions.get(key)
                if function is not None:
                    return function(*given, **settings)
                with self._lock:
                    if key in self._functions or self._has_room:
                        function = self._functions.get(key) or self._compiled(work)
                        results = function(*given, **settings)
                        self._functions[key] = function
                        return results
            except Exception as error:  # compilers raise errors of all kinds
                results = work(*given, **settings)  # raises by itself what the caller has done wrong
                self._stop(key, error)
                return results
            return work(*given, **settings)

    @property
    def _has_room(self) -> bool:
        return not self._failed and len(self._functions) < MAX_COMPILED

    def _compiled(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """What compiles when it is first called, for nothing but the shapes of that call."""
        options: dict[str, str | int | bool | Callable[..., Any]] = {}
        if self._backend == INDUCTOR:
            _keep_in_cache_folder()
            options = {} if CACHE_SWITCH in os.environ else {"fx_graph_cache": True}
        function: Callable[..., Any] = torch.compile(
            _with_own_code(work),
            fullgraph=True,
            dynamic=False,
            backend=self._backend,
            options=options or None,
        )
        return function

    def _stop(self, key: Hashable, error: Exception) -> None:
        self._functions.pop(key, None)
        if not self._failed:
            self._failed = True
            reason = " ".join(str(error).split())[:300]
            _log.warning(
                "torch.compile fails here, so PyTorch runs the model uncompiled, which without "
                "runtime='compiled' is quicker: %s",
                reason,
            )


def _keep_in_cache_folder() -> None:
    """Say where Inductor keeps what it compiles, unless somebody has: by itself it is a temporary folder."""
    given = Path(os.environ.get(CACHE_VARIABLE, ""))
    # parts of PyTorch write their default into the variable when they are imported
    is_default = given.name.startswith("torchinductor_") and given.parent == Path(tempfile.gettempdir())
    if is_default or not given.name:
        os.environ[CACHE_VARIABLE] = str(cache_folder() / INDUCTOR)


def _with_own_code(work: Callable[..., Any]) -> Callable[..., Any]:
    """The same method with a code object of its own.

    There PyTorch keeps what it has compiled, and for one code object it does so eight times at most
    (``torch._dynamo.config.recompile_limit``), for all models together.
    """
    assert isinstance(work, MethodType)
    plain = work.__func__
    assert isinstance(plain, FunctionType)
    copy = FunctionType(
        plain.__code__.replace(), plain.__globals__, plain.__name__, plain.__defaults__, plain.__closure__
    )
    copy.__kwdefaults__ = plain.__kwdefaults__
    return MethodType(copy, work.__self__)


def _form(value: Any) -> Hashable:
    """What a compiled function is for."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype
    return None if value is None else (type(value), *map(_form, value))


def _ordinary(part: Tensor) -> Tensor:
    """The same numbers in the one way that compiled functions are made for: in order, no inference tensor."""
    part = part.clone() if part.is_inference() else part
    # there and back, because axes of length 1 may have any stride
    return part.contiguous().view(-1).view(part.shape)
