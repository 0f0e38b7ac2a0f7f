"""Another implementation of SAM 2 in a process of its own, which answers requests in lines of JSON.

Needs numpy, Pillow, torch and the implementation, nothing of maskwright. The first line it writes is its
version, or why it cannot run; then a line for each request. Axes: N objects or masks, (h, w) the picture,
m the side of low-resolution logits.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image


class Found(NamedTuple):
    """Masks in host memory."""

    masks: np.ndarray
    """(N, h, w) bool."""
    logits: Any = None
    """(N, m, m), low resolution, on any device; None where there are none."""


class Implementation(Protocol):
    """What is measured: from decoded RGB in host memory to masks in host memory."""

    version: str

    def embed(self, picture: np.ndarray) -> None: ...

    def prompt(self, x: float, y: float) -> Found: ...

    def begin(self, frames: Path, boxes: list[list[float]]) -> Found: ...

    def next(self) -> Found: ...

    def automask(self, picture: np.ndarray) -> list[np.ndarray]: ...


class Official:
    """The package sam2, with holes left as they are: filling them takes an extension that is compiled."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.version = f"sam2 {version('sam2')}" + (", compiled" if job.get("compiled") else "")
        self._job = job
        size = [f"++model.image_size={job['size']}"]
        build = import_module("sam2.build_sam").build_sam2
        arguments = (job["config_file"], job["weights"])
        self._model = build(*arguments, device=job["device"], hydra_overrides_extra=size)
        self._pictures = import_module("sam2.sam2_image_predictor").SAM2ImagePredictor(self._model)
        self._suit(self._pictures)

    def embed(self, picture: np.ndarray) -> None:
        self._pictures.set_image(picture)

    def prompt(self, x: float, y: float) -> Found:
        masks, _, logits = self._pictures.predict(np.array([[x, y]]), np.array([1]))
        return Found(masks.astype(bool), logits)

    def begin(self, frames: Path, boxes: list[list[float]]) -> Found:
        job = self._job
        if not hasattr(self, "_videos"):
            size = [f"++model.image_size={job['video_size']}"]
            build = import_module("sam2.build_sam").build_sam2_video_predictor
            options: dict[str, Any] = {"hydra_overrides_extra": size}
            if job.get("compiled"):
                options["vos_optimized"] = True
            self._videos = build(job["config_file"], job["weights"], device=job["device"], **options)
            self._videos.fill_hole_area = 0
        self._state = self._videos.init_state(str(frames))
        for number, box in enumerate(boxes, start=1):
            self._videos.add_new_points_or_box(self._state, 0, number, box=np.array(box, np.float32))
        self._stream = self._videos.propagate_in_video(self._state)
        return self.next()

    def next(self) -> Found:
        frame, _, logits = next(self._stream)
        masks = (logits[:, 0] > 0).cpu().numpy()
        parts = self._state["output_dict_per_obj"].values()
        kept = [part["non_cond_frame_outputs"].get(frame) for part in parts]
        low = None if None in kept else torch.cat([one["pred_masks"][:, 0] for one in kept])
        return Found(masks, low)

    def automask(self, picture: np.ndarray) -> list[np.ndarray]:
        """Asked for run lengths, which is what it needs least memory for."""
        generator = import_module("sam2.automatic_mask_generator").SAM2AutomaticMaskGenerator
        made = generator(
            self._model,
            points_per_side=self._job["grid"],
            output_mode="uncompressed_rle",
            **self._job["search"],
        )
        self._suit(made.predictor)
        return [_from_runs(record["segmentation"]) for record in made.generate(picture)]

    def _suit(self, predictor: Any) -> None:
        """Sizes of features are fixed there to what 1024 pixels give."""
        predictor._bb_feat_sizes = [(self._job["size"] // stride,) * 2 for stride in (4, 8, 16)]


class Transformers:
    """The models of transformers; resizing is done here, as their processor needs torchvision."""

    def __init__(self, job: dict[str, Any]) -> None:
        self._library = import_module("transformers")
        self.version = f"transformers {self._library.__version__}"
        self._job, self._device = job, job["device"]
        self._state = import_module("safetensors.torch").load_file(job["weights_transformers"])
        pictures = {name: self._state[name] for name in job["image_names"]}
        side = job["size"]
        prompts = {"prompt_encoder_config": {"image_size": side}}
        model = self._library.Sam2Model(self._library.Sam2Config(vision_config=self._vision(side), **prompts))
        model.load_state_dict(pictures)
        self._model = model.eval().to(self._device)

    def embed(self, picture: np.ndarray) -> None:
        pixels = self._pixels(picture, self._job["size"])[None].to(self._device)
        self._features = self._model.get_image_embeddings(pixels)
        self._size = picture.shape[:2]

    def prompt(self, x: float, y: float) -> Found:
        h, w = self._size
        side = self._job["size"]
        out = self._model(
            image_embeddings=self._features,
            input_points=torch.tensor([[[[x / w * side, y / h * side]]]], device=self._device),
            input_labels=torch.ones(1, 1, 1, dtype=torch.int, device=self._device),
            multimask_output=True,
        )
        full = F.interpolate(out.pred_masks[0].float(), self._size, mode="bilinear", align_corners=False)
        return Found((full[0] > 0).cpu().numpy(), out.pred_masks[0, 0].clamp(-32, 32))

    def begin(self, frames: Path, boxes: list[list[float]]) -> Found:
        pictures = [np.array(Image.open(path).convert("RGB")) for path in sorted(frames.glob("*.jpg"))]
        side, (h, w) = self._job["video_size"], pictures[0].shape[:2]
        self._video = self._video_model(side)
        home = import_module("transformers.models.sam2_video.modeling_sam2_video")
        video = torch.stack([self._pixels(picture, side) for picture in pictures])
        self._frames = home.Sam2VideoInferenceSession(
            video, h, w, inference_device=self._device, dtype=torch.float32
        )
        scale = torch.tensor([side / w, side / h])
        for number, box in enumerate(boxes, start=1):
            row = self._frames.obj_id_to_idx(number)
            corners = torch.tensor(box).reshape(1, 1, 2, 2) * scale
            labels = torch.tensor([[[2, 3]]], dtype=torch.int32)
            self._frames.add_point_inputs(row, 0, {"point_coords": corners, "point_labels": labels})
        self._frames.obj_with_new_inputs = list(range(1, len(boxes) + 1))
        self._frame, self._frame_size = -1, (h, w)
        return self.next()

    def next(self) -> Found:
        self._frame += 1
        out = self._video(inference_session=self._frames, frame_idx=self._frame)
        low = out.pred_masks.float()
        full = F.interpolate(low, self._frame_size, mode="bilinear", align_corners=False)
        return Found((full[:, 0] > 0).cpu().numpy(), low[:, 0])

    def automask(self, picture: np.ndarray) -> list[np.ndarray]:
        """By the pipeline for that, which resizes by itself and gives bitmaps."""
        if find_spec("torchvision") is None:
            raise ImportError("its pipeline for automatic masks needs torchvision in the same environment")
        if not hasattr(self, "_generator"):
            side, mean, std = (self._job[name] for name in ("size", "mean", "std"))
            resizing = self._library.Sam2ImageProcessor(
                size={"height": side, "width": side}, image_mean=mean, image_std=std
            )
            self._generator = self._library.pipeline(
                "mask-generation", model=self._model, image_processor=resizing, device=self._device
            )
        settings = dict(self._job["search"])
        settings["crops_nms_thresh"] = settings.pop("box_nms_thresh")
        made = self._generator(Image.fromarray(picture), points_per_crop=self._job["grid"], **settings)
        return [np.asarray(mask, bool) for mask in made["masks"]]

    def _video_model(self, side: int) -> Any:
        config = self._library.Sam2VideoConfig(
            vision_config=self._vision(side),
            image_size=side,
            prompt_encoder_config={"image_size": side},
            memory_attention_rope_feat_sizes=[side // 16] * 2,
            **self._job["video"],
        )
        model = self._library.Sam2VideoModel(config)
        report = model.load_state_dict(self._state, strict=False)
        missing = [name for name in report.missing_keys if "shared_image_embedding" not in name]
        if missing or report.unexpected_keys:
            raise ImportError(f"another version of the network: {missing[:3]} {report.unexpected_keys[:3]}")
        return model.eval().to(self._device)

    def _vision(self, side: int) -> dict[str, Any]:
        vision = dict(self._job["vision"])
        backbone = {**vision["backbone_config"], "image_size": [side, side]}
        vision["backbone_config"] = self._library.Sam2HieraDetConfig(**backbone).to_dict()
        vision["backbone_feature_sizes"] = [[side // stride] * 2 for stride in (4, 8, 16)]
        return vision

    def _pixels(self, picture: np.ndarray, side: int) -> torch.Tensor:
        pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
        if pixels.shape[-2:] != (side, side):
            pixels = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
        mean, std = (torch.tensor(self._job[name]).view(3, 1, 1) for name in ("mean", "std"))
        return (pixels[0] - mean) / std


IMPLEMENTATIONS: dict[str, Callable[[dict[str, Any]], Implementation]] = {
    "official": Official,
    "transformers": Transformers,
}


def _from_runs(record: dict[str, Any]) -> np.ndarray:
    """Run lengths down the columns as a bitmap."""
    h, w = record["size"]
    counts = record["counts"]
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(w, h).T


def _peak_mib(device: str) -> float | None:
    """Since :func:`_restart`, of the GPU or else of the process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return None


def _restart(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _timed(work: Callable[[], Any], device: str) -> tuple[float, Any]:
    """Seconds and result; the device has finished when the clock is read."""
    _finish(device)
    began = time.perf_counter()
    result = work()
    _finish(device)
    return time.perf_counter() - began, result


def _finish(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _answer(one: Implementation, request: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:
    do = request["do"]
    if do == "peak":
        peak = _peak_mib(job["device"])
        if request["restart"]:
            _restart(job["device"])
        return {"mib": peak}
    picture = np.load(job["picture"])
    works: dict[str, Callable[[], Any]] = {
        "embed": lambda: one.embed(picture),
        "prompt": lambda: one.prompt(*request["at"]),
        "begin": lambda: one.begin(Path(job["film"]), request["boxes"]),
        "next": one.next,
        "automask": lambda: one.automask(picture),
    }
    seconds, found = _timed(works[do], job["device"])
    if do == "automask":
        found = Found(np.array(found, bool).reshape(len(found), *picture.shape[:2]))
    if found is not None:
        _save(found, request["save"])
    return {"seconds": seconds}


def _save(found: Found, path: str) -> None:
    logits = found.logits
    if isinstance(logits, torch.Tensor):
        logits = logits.float().cpu().numpy()
    arrays: dict[str, Any] = {} if logits is None else {"logits": logits}
    arrays |= {"masks": np.packbits(found.masks, axis=-1), "width": np.array(found.masks.shape[-1])}
    np.savez(path, **arrays)


def _precision(job: dict[str, Any]) -> contextlib.AbstractContextManager[Any]:
    if job["dtype"] == "float32":
        return contextlib.nullcontext()
    return torch.autocast(job["device"].partition(":")[0], getattr(torch, job["dtype"]))


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")

    def reply(value: dict[str, Any]) -> None:
        replies.write(json.dumps(value) + "\n")
        replies.flush()

    with contextlib.redirect_stdout(sys.stderr), torch.inference_mode(), _precision(job):
        try:
            one = IMPLEMENTATIONS[job["implementation"]](job)
        except Exception as error:  # whatever it is, the one who asked has to know
            reply(_failure(error))
            return
        reply({"version": one.version, "torch": torch.__version__})
        for line in sys.stdin:
            try:
                reply(_answer(one, json.loads(line), job))
            except Exception as error:  # as above; other requests may do better
                reply(_failure(error))


def _failure(error: Exception) -> dict[str, Any]:
    return {"failed": " ".join(f"{type(error).__name__}: {error}".split())[:300]}


if __name__ == "__main__":
    main()
