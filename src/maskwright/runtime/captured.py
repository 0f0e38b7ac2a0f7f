"""The verbs as CUDA graphs: what a verb starts on the GPU is recorded once and then replayed as a whole.

A tracked frame starts very many small kernels, and on a large GPU starting them can take longer than they
do. A graph has fixed addresses and shapes: so inputs are copied into buffers of its own, and results are
copied out before the next replay overwrites them. Shapes come and go while memories fill up; a graph is
recorded when a shape comes back soon after it was seen, and the least recently used ones are dropped.
Objects are not padded to round numbers: another number of objects is another graph.

Opt-in: not measured on a GPU, nor run on one yet. What can be tested without one is, with a recorder that
replays by calling again.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from maskwright.config import ModelConfig
from maskwright.errors import InputError
from maskwright.model.candidates import Chosen
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.memory_bank import MemoryBank
from maskwright.model.prompt_encoder import PromptTensors
from maskwright.model.sam2 import Decoded, Slots
from maskwright.runtime.eager import Eager
from maskwright.runtime.nested import mapped, tensors
from maskwright.runtime.protocol import Moment, Runtime

MAX_GRAPHS = 16
"""Graphs held at once. They share the memory of what they compute; each has its own inputs and results, some
30 MiB at 1024 px and one object."""
RECENT_CALLS = 32
"""A shape that was seen within so many calls is recorded: about eight frames with four verbs each. The shapes
of a filling memory come once in a video."""
MAX_BATCH = 8
"""Pictures or objects in a call; with more, kernels are long, and buffers large. Not measured."""
CALLS_BEFORE = 2
"""Calls of one shape before it is only replayed: the first is noted, the second recorded."""
WARM_UPS = 2
"""Calls before recording, in which libraries choose algorithms and make workspaces."""

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Recorded(NamedTuple):
    """A piece of work that can be done again, with the same buffers."""

    replay: Callable[[], None]
    results: Any
    """What the work returned; every replay overwrites these tensors."""


class Recorder(Protocol):
    """Records work on a device."""

    def record(self, work: Callable[[], Any]) -> Recorded:
        """Do ``work``, which neither reads from the host nor waits for the device, in a way to be repeated.

        Raises:
            RuntimeError: it cannot be recorded.
        """
        ...

    def turn(self) -> contextlib.AbstractContextManager[None]:
        """Work in a turn comes after that of the turn before on the device, whatever stream either is on."""
        ...


class CudaGraphs:
    """Records CUDA graphs, all with one pool of memory."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._done = torch.cuda.Event()

    def record(self, work: Callable[[], Any]) -> Recorded:
        with torch.cuda.device(self._device):
            aside, here = torch.cuda.Stream(), torch.cuda.current_stream()
            aside.wait_stream(here)
            with torch.cuda.stream(aside):
                for _ in range(WARM_UPS):
                    work()
            here.wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            # other threads may go on using the GPU meanwhile
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                results = work()
        return Recorded(graph.replay, results)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        with torch.cuda.device(self._device):
            stream = torch.cuda.current_stream()
            stream.wait_event(self._done)
            yield
            self._done.record(stream)


def wrap(runtime: Runtime) -> Runtime:
    """The same runtime, with its verbs as CUDA graphs.

    Raises:
        InputError: it does not run on a CUDA device, or is another one than the plain runtime.
    """
    if runtime.device.type != "cuda" or not isinstance(runtime, Eager):
        raise InputError(
            f"CUDA graphs need the plain runtime on a CUDA device, this one is on {runtime.device}; "
            "load the model with device='cuda', or leave out runtime='cuda-graphs'"
        )
    return Captured(runtime, CudaGraphs(runtime.device))


class Captured:
    """Fulfils the ``Runtime`` protocol with what a recorder has recorded of the plain runtime.

    Any number of threads may share one; their replays take turns. Where recording fails, that is logged once,
    and everything goes on without.
    """

    def __init__(self, plain: Eager, recorder: Recorder, *, max_graphs: int = MAX_GRAPHS) -> None:
        self._plain = plain
        self._recorder = recorder
        self._max_graphs = max_graphs
        self._graphs: OrderedDict[Hashable, _Graph] = OrderedDict()
        self._seen: deque[Hashable] = deque(maxlen=RECENT_CALLS)
        self._failed = False
        self._lock = threading.Lock()

    @property
    def config(self) -> ModelConfig:
        return self._plain.config

    @property
    def device(self) -> torch.device:
        return self._plain.device

    @property
    def dtype(self) -> torch.dtype:
        return self._plain.dtype

    @property
    def num_graphs(self) -> int:
        """Graphs held now."""
        return len(self._graphs)

    def fingerprint(self) -> str:
        return self._plain.fingerprint()

    def encode_image(self, pixels_B3HW: Tensor) -> ImageFeatures:
        return self._run("encode_image", len(pixels_B3HW), self._plain.encode_image, pixels_B3HW)

    def without_memory(self, features: ImageFeatures) -> ImageFeatures:
        return self._plain.without_memory(features)

    def decode(self, features: ImageFeatures, prompts: PromptTensors) -> Decoded:
        num_objects = prompts.labels_BPK[..., 0].numel()
        return self._run("decode", num_objects, self._plain.decode, features, prompts)

    def adopt(self, features: ImageFeatures, masks_OHW: Tensor) -> Chosen:
        return self._plain.adopt(features, masks_OHW)

    def recall(
        self, features: ImageFeatures, bank: MemoryBank, now: Moment, *, masked: bool
    ) -> ImageFeatures:
        def work(
            features: ImageFeatures, bank: MemoryBank, frame_O: Tensor, direction: Tensor, span: Tensor
        ) -> ImageFeatures:
            return self._plain.recall_at(features, bank, frame_O, direction, span, masked=masked)

        when = (now.frame_O, torch.tensor(now.direction), torch.tensor(float(now.pointer_span)))
        return self._run(f"recall, masked={masked}", len(now.frame_O), work, features, bank, *when)

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
        asked = (features, chosen.logits_OHW, chosen.object_score_O, binary_O)
        memory_OID = self._run("remember", len(frame_O), self._plain.encode_memory, *asked)
        self._plain.store(memory_OID, chosen, bank, slots, frame_O, prompted_O)

    @torch.inference_mode()
    def _run(self, verb: str, batch: int, work: Callable[..., _T], *inputs: Any) -> _T:
        """``work(*inputs)``, replayed if its shapes come often."""
        key = (verb, _form(inputs))
        with self._lock:
            graph = self._graph(key, work, inputs) if batch <= MAX_BATCH else None
            if graph is not None:
                with self._recorder.turn():
                    results: _T = graph(inputs)
                return results
        return work(*mapped(lambda part: part.to(self.device), inputs))

    def _graph(self, key: Hashable, work: Callable[..., Any], inputs: tuple[Any, ...]) -> _Graph | None:
        """The graph for these shapes, recorded now if they were seen not long ago."""
        if key in self._graphs:
            self._graphs.move_to_end(key)
            return self._graphs[key]
        if self._failed or key not in self._seen:
            self._seen.append(key)
            return None
        while len(self._graphs) >= self._max_graphs:
            self._graphs.popitem(last=False)
        try:
            with self._recorder.turn():
                self._graphs[key] = _Graph(self._recorder, work, inputs, self.device)
        except RuntimeError as error:
            self._failed = True
            _log.warning("no more CUDA graphs are recorded, which is slower: %s", error)
            return None
        return self._graphs[key]


class _Graph:
    """One recorded call with buffers for its inputs."""

    def __init__(
        self, recorder: Recorder, work: Callable[..., Any], inputs: tuple[Any, ...], device: torch.device
    ) -> None:
        self._buffers = mapped(lambda part: _buffer(part, device), inputs)
        self._fill(inputs)
        self._recorded = recorder.record(lambda: work(*self._buffers))

    def __call__(self, inputs: tuple[Any, ...]) -> Any:
        self._fill(inputs)
        self._recorded.replay()
        return mapped(_copied, self._recorded.results)

    def _fill(self, inputs: tuple[Any, ...]) -> None:
        for buffer, part in zip(tensors(self._buffers), tensors(inputs), strict=True):
            # from memory that is not pinned, copying returns when the source may be changed again
            _base(buffer).copy_(_base(part), non_blocking=part.is_cuda or not part.is_pinned())


def _form(value: Any) -> Hashable:
    """What a graph depends on: structure, shapes, dtypes, and which axes repeat one value."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype, _repeats(value)
    return None if value is None else (type(value), *map(_form, value))


def _repeats(part: Tensor) -> tuple[bool, ...]:
    """Axes along which a tensor is one value over and over, as those that ``expand`` has made."""
    return tuple(step == 0 and size > 1 for size, step in zip(part.shape, part.stride(), strict=True))


def _base(part: Tensor) -> Tensor:
    """What an expanded tensor is made of: axes that repeat have size 1."""
    for axis, repeats in enumerate(_repeats(part)):
        if repeats:
            part = part.narrow(axis, 0, 1)
    return part


def _buffer(like: Tensor, device: torch.device) -> Tensor:
    """Room for tensors like this one, on the device; what repeats takes no room."""
    return torch.empty_like(_base(like), device=device).expand(like.shape)


def _copied(part: Tensor) -> Tensor:
    return _base(part).clone().expand(part.shape)
