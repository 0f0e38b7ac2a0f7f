"""One implementation of automatic masks in a process of its own, which bench_automask.py talks to in JSON.

Needs only the implementation itself, numpy and torch, so it also runs in an environment without maskwright.
Its first line says which version it is, or why it cannot run here.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from image_worker import how, ours, run_before, timed

NATIVE = {
    "points_per_batch": "points_per_batch",
    "pred_iou_thresh": "min_score",
    "stability_score_thresh": "min_stability",
    "stability_score_offset": "stability_offset",
    "box_nms_thresh": "max_overlap",
}
"""Our names of the settings, which arrive here under the official ones."""
KEEP_ALL = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
"""Some implementations fail where nothing is left, and the few clicks of the warm-up may leave nothing."""


class Contestant(Protocol):
    """What is measured: from decoded RGB in host memory to the masks, in the form that it gives them."""

    version: str

    def automask(self, picture: np.ndarray, per_side: int, settings: dict[str, Any]) -> Any: ...

    def bitmaps(self, found: Any) -> Iterable[np.ndarray]:
        """(h, w) bool each, one after the other; is not measured."""
        ...


class Maskwright:
    """Gives run lengths."""

    def __init__(self, options: argparse.Namespace) -> None:
        import maskwright

        self.version = f"maskwright {maskwright.__version__}{how(options)}"
        self.model = maskwright.load(options.weights, device=options.device, **ours(options))

    def automask(self, picture: np.ndarray, per_side: int, settings: dict[str, Any]) -> Any:
        from maskwright.automask.options import AutomaskOptions

        ours = {NATIVE[name]: value for name, value in settings.items()}
        return self.model.automask(picture, options=AutomaskOptions(points_per_side=per_side, **ours))

    def bitmaps(self, found: Any) -> Iterable[np.ndarray]:
        return (one.bitmaps[0] for one in found)


class Plain(Maskwright):
    """What Maskwright's must equal: click by click, every candidate stretched to full size, then filtered."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(options)
        self.version += ", click by click at full size"

    def automask(self, picture: np.ndarray, per_side: int, settings: dict[str, Any]) -> Any:
        from maskwright import Points
        from maskwright.pixels.nms import nms

        h, w = picture.shape[:2]
        embedding = self.model.embed(picture)
        steps = (np.arange(per_side) + 0.5) / per_side
        kept = []
        for x, y in ((x * w, y * h) for y in steps for x in steps):
            masks = embedding.segment(Points((float(x), float(y))), candidates=True)
            for score, logits in zip(masks.scores[0], masks.logits[0], strict=True):
                if score > settings["pred_iou_thresh"]:
                    kept += self._stable(score, logits, (h, w), settings)
        if not kept:
            return []
        scores, boxes, bitmaps = zip(*kept, strict=True)
        rows = nms(np.array(boxes, np.float32), np.array(scores), settings["box_nms_thresh"])
        return [np.unpackbits(bitmaps[row], count=h * w).reshape(h, w).astype(bool) for row in rows]

    def _stable(
        self, score: float, logits: np.ndarray, size: tuple[int, int], settings: dict[str, Any]
    ) -> list[tuple[float, tuple[int, ...], np.ndarray]]:
        """The mask with its score and box, unless it is empty or not stable."""
        offset = settings["stability_score_offset"]
        full = F.interpolate(torch.from_numpy(logits)[None, None], size, mode="bilinear")[0, 0].numpy()
        bitmap = full > 0
        large = int((full > -offset).sum())
        if not bitmap.any() or (full > offset).sum() / large < settings["stability_score_thresh"]:
            return []
        rows, columns = (np.flatnonzero(bitmap.any(axis)) for axis in (1, 0))
        return [(score, (columns[0], rows[0], columns[-1], rows[-1]), np.packbits(bitmap))]

    def bitmaps(self, found: Any) -> Iterable[np.ndarray]:
        return iter(found)


class Official:
    """Asked for run lengths too, which is what it needs least memory for."""

    def __init__(self, options: argparse.Namespace) -> None:
        from importlib.metadata import version

        from sam2.build_sam import build_sam2

        self.version = f"sam2 {version('sam2')}"
        self.model = build_sam2(options.config_file, options.weights, device=options.device)

    def automask(self, picture: np.ndarray, per_side: int, settings: dict[str, Any]) -> Any:
        from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

        generator = SAM2AutomaticMaskGenerator(
            self.model, points_per_side=per_side, output_mode="uncompressed_rle", **settings
        )
        return generator.generate(picture)

    def bitmaps(self, found: Any) -> Iterable[np.ndarray]:
        for record in found:
            h, w = record["segmentation"]["size"]
            counts = record["segmentation"]["counts"]
            yield np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(w, h).T


class Transformers:
    """The ``mask-generation`` pipeline, which gives bitmaps; its weights are a folder of transformers."""

    def __init__(self, options: argparse.Namespace) -> None:
        import transformers

        self.version = f"transformers {transformers.__version__}"
        model = transformers.Sam2Model.from_pretrained(options.weights, dtype=torch.float32)
        self.pipeline = transformers.pipeline(
            "mask-generation",
            model=model,
            image_processor=transformers.Sam2ImageProcessor(),
            device=options.device,
        )

    def automask(self, picture: np.ndarray, per_side: int, settings: dict[str, Any]) -> Any:
        from PIL import Image

        theirs = dict(settings)
        theirs["crops_nms_thresh"] = theirs.pop("box_nms_thresh")
        return self.pipeline(Image.fromarray(picture), points_per_crop=per_side, **theirs)["masks"]

    def bitmaps(self, found: Any) -> Iterable[np.ndarray]:
        return (np.asarray(mask, dtype=bool) for mask in found)


IMPLEMENTATIONS: dict[str, Callable[[argparse.Namespace], Contestant]] = {
    "maskwright": Maskwright,
    "plain": Plain,
    "official": Official,
    "transformers": Transformers,
}


class Memory:
    """Resident memory of this process, in MiB: what it had at the start, and its peak since then."""

    def __init__(self) -> None:
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)  # what loading has freed shall not hide what is taken later
            self.base = self._status("VmRSS")

    def restart(self) -> None:
        if sys.platform == "linux":
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew

    def peak(self) -> float | None:
        """Above what there was at the start; None where the system does not say."""
        return self._status("VmHWM") - self.base if sys.platform == "linux" else None

    def _status(self, field: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) / 1024


def serve(contestant: Contestant, options: argparse.Namespace, replies: Any) -> None:
    """Answer requests until the input ends: a search, or with ``save`` the masks of the last one."""
    picture, settings = np.load(options.picture), json.loads(options.settings)
    memory = Memory()
    if options.warm:
        contestant.automask(picture, options.warm, settings | KEEP_ALL)
    found: Any = []
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "search":
            found = None
            memory.restart()
            used = time.process_time()
            seconds, found = timed(
                lambda: contestant.automask(picture, options.grid, settings), options.device
            )
            reply: dict[str, Any] = {
                "seconds": seconds,
                "cpu_seconds": time.process_time() - used,
                "peak_mib": memory.peak(),
                "masks": len(found),
            }
        else:
            packed = [np.packbits(bitmap) for bitmap in contestant.bitmaps(found)]
            size = -(-picture.shape[0] * picture.shape[1] // 8)
            np.save(request["save"], np.array(packed, np.uint8).reshape(len(packed), size))
            reply = {}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def let_boxes_be() -> None:
    """A stand-in for torchvision defines its operations, but not the flag that says they are there."""
    with contextlib.suppress(ImportError):
        importlib.import_module("torchvision.ops.boxes")._assert_has_ops = lambda: None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("implementation", choices=IMPLEMENTATIONS)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--config-file")
    parser.add_argument("--picture", required=True)
    parser.add_argument("--grid", type=int, required=True)
    parser.add_argument("--warm", type=int, default=0, help="clicks along each side of a search before all")
    parser.add_argument("--settings", required=True, help="JSON, by the official names")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", help="of maskwright")
    parser.add_argument("--runtime", help="of maskwright")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--run-before")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    with contextlib.redirect_stdout(sys.stderr):  # what the implementation prints is no reply
        try:
            if options.run_before:
                run_before(options.run_before)
                let_boxes_be()
            contestant = IMPLEMENTATIONS[options.implementation](options)
        except ImportError as error:
            replies.write(json.dumps({"left_out": " ".join(str(error).split())}) + "\n")
            return
        replies.write(json.dumps({"version": contestant.version, "torch": torch.__version__}) + "\n")
        replies.flush()
        serve(contestant, options, replies)


if __name__ == "__main__":
    main()
