"""A runtime that executes exported graphs; which engine does it is its only difference.

Tensors stay on the host, in float32 at every boundary of a graph; between the verbs, image features are in
the compute dtype, as with every runtime.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from maskwright.config import ModelConfig
from maskwright.errors import CheckpointError
from maskwright.model.candidates import Chosen
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.memory_bank import MemoryBank
from maskwright.model.prompt_encoder import PromptTensors
from maskwright.model.sam2 import Decoded, Slots
from maskwright.runtime.exported.engine import Array, Engine
from maskwright.runtime.exported.graphs import LEVELS
from maskwright.runtime.exported.manifest import GraphFile, Manifest, sha256_of
from maskwright.runtime.protocol import Moment

OpenGraph = Callable[[Path], Engine]
_DECODED = ("logits", "iou", "pointers", "object_score")


class Exported:
    """The verbs of one model at one input size, each read and prepared when it is first used."""

    def __init__(
        self, folder: Path, manifest: Manifest, config: ModelConfig, open_graph: OpenGraph, dtype: torch.dtype
    ) -> None:
        """``config``: the manifest's, at the input size wanted.

        Raises:
            CheckpointError: the folder has no graphs of this size.
        """
        graphs = manifest.graphs.get(config.image_size)
        if graphs is None:
            sizes = ", ".join(map(str, manifest.graphs))
            raise CheckpointError(
                f"{folder} has graphs for image_size={sizes}, not {config.image_size}: export the model anew"
            )
        self._folder, self._manifest, self._graphs = folder, manifest, graphs
        self._config, self._open, self._dtype = config, open_graph, dtype
        self._engines: dict[str, Engine] = {}
        self._lock = threading.Lock()

    @property
    def config(self) -> ModelConfig:
        return self._config

    @property
    def device(self) -> torch.device:
        """Where tensors are between the verbs."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        return self._dtype

    def fingerprint(self) -> str:
        return self._manifest.fingerprint

    def encode_image(self, pixels_B3HW: Tensor) -> ImageFeatures:
        found = self._run("encode_image", pixels=pixels_B3HW)
        return self._stored(*(found[name] for name in LEVELS))

    def without_memory(self, features: ImageFeatures) -> ImageFeatures:
        low_BCHW = self._run("without_memory", low=features.low_BCHW)["low_without_memory"]
        return features._replace(low_BCHW=low_BCHW.to(self._dtype))

    def decode(self, features: ImageFeatures, prompts: PromptTensors) -> Decoded:
        """The graph takes one picture with all its objects, so pictures come one after the other."""
        parts = [self._decode_one(*picture) for picture in _pictures(features, prompts)]
        return parts[0] if len(parts) == 1 else Decoded(*(torch.cat(of) for of in zip(*parts, strict=True)))

    def adopt(self, features: ImageFeatures, masks_OHW: Tensor) -> Chosen:
        found = self._run("adopt", **_levels(features), masks=masks_OHW)
        return Chosen(*(found[name] for name in _DECODED))

    def recall(
        self, features: ImageFeatures, bank: MemoryBank, now: Moment, *, masked: bool
    ) -> ImageFeatures:
        """Slots are always masked, so that one graph does."""
        ages = bank.ages(
            now.frame_O,
            torch.tensor(now.direction),
            torch.tensor(float(now.pointer_span)),
            self._config.num_memories,
        )
        slots = {
            "memories": bank.memories_OSID,
            "pointers": bank.pointers_OPC,
            "visible": ages.visible_OS,
            "row": ages.row_OS,
            "pointer_visible": ages.pointer_visible_OP,
            # engines need not know the sine of the enormous age that an empty slot has
            "pointer_time": torch.where(ages.pointer_visible_OP, ages.pointer_time_OP, 0.0),
        }
        found = self._run_each("recall", _levels(features), slots)
        low_OCHW, num_objects = found["recalled_low"], len(now.frame_O)
        mid_OCHW = features.mid_BCHW.expand(num_objects, -1, -1, -1)
        high_OCHW = found.get("recalled_high", features.high_BCHW).expand(num_objects, -1, -1, -1)
        return self._stored(low_OCHW, mid_OCHW, high_OCHW, found.get("presence"))

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
        about = {"logits": chosen.logits_OHW, "object_score": chosen.object_score_O, "binary": binary_O}
        memory_OID = self._run_each("encode_memory", {"low": features.low_BCHW}, about)["memory"]
        bank.write(*slots, memory_OID, chosen.pointers_OC, frame_O, prompted_O)

    def _decode_one(self, features: ImageFeatures, prompts: PromptTensors) -> Decoded:
        num_each = prompts.labels_BPK.shape[:2]
        presence_B, masks_BPHW, given_BP = features.presence_B, prompts.masks_BPHW, prompts.mask_given_BP
        if given_BP is None:
            given_BP = torch.full(num_each, masks_BPHW is not None)
        if masks_BPHW is None:
            masks_BPHW = torch.zeros(*num_each, self._config.mask_size, self._config.mask_size)
        found = self._run(
            "decode",
            **_levels(features),
            presence=torch.full((1,), torch.nan) if presence_B is None else presence_B,
            points=prompts.points_BPK2,
            labels=prompts.labels_BPK,
            masks=masks_BPHW,
            mask_given=given_BP,
        )
        return Decoded(*(found[name] for name in _DECODED))

    def _stored(
        self, low: Tensor, mid: Tensor, high: Tensor, presence_B: Tensor | None = None
    ) -> ImageFeatures:
        """Features in the compute dtype."""
        low, mid, high = (level.to(self._dtype) for level in (low, mid, high))
        return ImageFeatures(low, mid, high, presence_B)

    def _run_each(
        self, verb: str, shared: Mapping[str, Tensor], own: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Results of objects one after the other, as of one batch; ``own`` has a row for each of them."""
        num_objects = len(next(iter(own.values())))
        each = [
            self._run(verb, **shared, **{name: rows[row : row + 1] for name, rows in own.items()})
            for row in range(num_objects)
        ]
        return {name: torch.cat([results[name] for results in each]) for name in each[0]}

    def _run(self, verb: str, **tensors: Tensor) -> dict[str, Tensor]:
        """Results by name, in float32; graphs take of the tensors what they need."""
        inputs = self._graph(verb).inputs
        results = self._engine(verb)({name: _array(tensors[name]) for name in inputs})
        return {name: torch.from_numpy(array) for name, array in results.items()}

    def _graph(self, verb: str) -> GraphFile:
        graph = self._graphs.get(verb)
        if graph is None:
            raise CheckpointError(
                f"{self._folder} has no graph of {verb} at image_size={self._config.image_size}: "
                "it was exported for pictures only"
            )
        return graph

    def _engine(self, verb: str) -> Engine:
        with self._lock:
            if verb not in self._engines:
                self._engines[verb] = self._opened(self._folder / self._graph(verb).file, verb)
            return self._engines[verb]

    def _opened(self, path: Path, verb: str) -> Engine:
        """A graph that is known to be whole, ready to be run."""
        try:
            whole = sha256_of(path) == self._graph(verb).sha256
        except OSError as error:
            raise CheckpointError(f"cannot read {path} ({error.strerror}): export the model anew") from error
        if not whole:
            raise CheckpointError(f"{path} is damaged or was replaced: export the model anew")
        return self._open(path)


def _pictures(
    features: ImageFeatures, prompts: PromptTensors
) -> Iterator[tuple[ImageFeatures, PromptTensors]]:
    """Pictures one by one, each with B = 1."""
    for number in range(len(features.low_BCHW)):
        one = slice(number, number + 1)
        asked = PromptTensors(
            prompts.points_BPK2[one],
            prompts.labels_BPK[one],
            _part(prompts.masks_BPHW, one),
            _part(prompts.mask_given_BP, one),
        )
        low, mid, high = (level[one] for level in features.levels)
        yield ImageFeatures(low, mid, high, _part(features.presence_B, one)), asked


def _part(whole: Tensor | None, rows: slice) -> Tensor | None:
    return None if whole is None else whole[rows]


def _levels(features: ImageFeatures) -> dict[str, Tensor]:
    return dict(zip(LEVELS, features.levels, strict=True))


def _array(tensor: Tensor) -> Array:
    """A tensor as graphs take it: on the host, side by side, with floating-point numbers in float32."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).contiguous().numpy()
