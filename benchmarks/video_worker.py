"""One implementation of SAM 2's video half in a process of its own, which bench_video.py talks to.

Needs only the implementation itself, numpy, Pillow and torch, so it also runs without maskwright.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from image_worker import how, ours, precision, run_before, timed, transformers_config
from PIL import Image


class Contestant(Protocol):
    """What is measured: from decoded frames in host memory to masks in host memory, frame by frame."""

    version: str

    def begin(self, frames: Path, boxes: list[list[float]]) -> np.ndarray:
        """Open a video and prompt its first frame: masks (N, h, w) bool."""
        ...

    def next(self) -> np.ndarray:
        """The next frame's masks (N, h, w) bool."""
        ...


class Maskwright:
    def __init__(self, options: argparse.Namespace) -> None:
        import maskwright

        self.version = f"maskwright {maskwright.__version__}{how(options)}"
        self.model = maskwright.load(
            options.weights, device=options.device, image_size=options.size, **ours(options)
        )

    def begin(self, frames: Path, boxes: list[list[float]]) -> np.ndarray:
        from maskwright import Box, TrackOptions

        self.files = iter(sorted(frames.glob("*.jpg")))
        self.session = self.model.session(TrackOptions(max_hole_area=0))
        self.session.push(_decoded(next(self.files)))
        for number, box in enumerate(boxes, start=1):
            tracked = self.session.prompt(number, Box(*box))
        return tracked.bitmaps

    def next(self) -> np.ndarray:
        return self.session.push(_decoded(next(self.files))).bitmaps


class Official:
    def __init__(self, options: argparse.Namespace) -> None:
        from importlib.metadata import version

        from sam2.build_sam import build_sam2_video_predictor

        self.version = f"sam2 {version('sam2')}{how(options)}"
        self.predictor = build_sam2_video_predictor(
            options.config_file,
            options.weights,
            device=options.device,
            hydra_overrides_extra=[f"++model.image_size={options.size}"],
        )
        self.predictor.fill_hole_area = 0  # the others do not; and its extension has to be compiled

    def begin(self, frames: Path, boxes: list[list[float]]) -> np.ndarray:
        state = self.predictor.init_state(str(frames))
        for number, box in enumerate(boxes, start=1):
            self.predictor.add_new_points_or_box(state, 0, number, box=np.array(box, np.float32))
        self.stream = self.predictor.propagate_in_video(state)
        return self.next()

    def next(self) -> np.ndarray:
        _, _, logits = next(self.stream)
        masks: np.ndarray = (logits[:, 0] > 0).cpu().numpy()
        return masks


class Transformers:
    """The model of transformers with pre- and post-processing of ours: its processor needs torchvision."""

    def __init__(self, options: argparse.Namespace) -> None:
        import transformers

        from maskwright.weights.keymaps import from_ours
        from maskwright.weights.load import load_checkpoint

        self.version = f"transformers {transformers.__version__}{how(options)}"
        checkpoint = load_checkpoint(options.weights)
        self.config, self.device = checkpoint.config.at(options.size), options.device
        vision = transformers_config(transformers, self.config).vision_config.to_dict()
        model = transformers.Sam2VideoModel(
            transformers.Sam2VideoConfig(
                vision_config=vision,
                image_size=options.size,
                prompt_encoder_config={"image_size": options.size},
                memory_attention_rope_feat_sizes=[options.size // 16] * 2,
                enable_occlusion_spatial_embedding=self.config.occlusion_memory,
                enable_temporal_pos_encoding_for_object_pointers=self.config.pointer_time,
            )
        )
        report = model.load_state_dict(from_ours(checkpoint.state, "transformers"), strict=False)
        assert not report.unexpected_keys, report.unexpected_keys
        assert all("shared_image_embedding" in name for name in report.missing_keys), report.missing_keys
        self.model = model.eval().to(options.device)

    @torch.inference_mode()
    def begin(self, frames: Path, boxes: list[list[float]]) -> np.ndarray:
        from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

        pictures = [_decoded(path) for path in sorted(frames.glob("*.jpg"))]
        self.size = pictures[0].shape[:2]
        video = torch.stack([self._pixels(picture) for picture in pictures])
        self.session = Sam2VideoInferenceSession(
            video, *self.size, inference_device=self.device, dtype=torch.float32
        )
        h, w = self.size
        for number, box in enumerate(boxes, start=1):
            row = self.session.obj_id_to_idx(number)
            scale = torch.tensor([self.config.image_size / w, self.config.image_size / h])
            corners = torch.tensor(box).reshape(1, 1, 2, 2) * scale
            labels = torch.tensor([[[2, 3]]], dtype=torch.int32)
            self.session.add_point_inputs(row, 0, {"point_coords": corners, "point_labels": labels})
        self.session.obj_with_new_inputs = list(range(1, len(boxes) + 1))
        self.frame = -1
        return self.next()

    @torch.inference_mode()
    def next(self) -> np.ndarray:
        self.frame += 1
        out = self.model(inference_session=self.session, frame_idx=self.frame)
        full = F.interpolate(out.pred_masks.float(), self.size, mode="bilinear", align_corners=False)
        masks: np.ndarray = (full[:, 0] > 0).cpu().numpy()
        return masks

    def _pixels(self, picture: np.ndarray) -> torch.Tensor:
        side = self.config.image_size
        resized = Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.array(resized, np.float32) / 255).permute(2, 0, 1)
        mean, std = (
            torch.tensor(values).view(3, 1, 1) for values in (self.config.pixel_mean, self.config.pixel_std)
        )
        return (pixels - mean) / std


IMPLEMENTATIONS: dict[str, Callable[[argparse.Namespace], Contestant]] = {
    "maskwright": Maskwright,
    "official": Official,
    "transformers": Transformers,
}


def _decoded(path: Path) -> np.ndarray:
    return np.array(Image.open(path).convert("RGB"))


def memory_mib() -> float:
    """Most memory that this process has held so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def serve(contestant: Contestant, options: argparse.Namespace, replies: Any) -> None:
    """Answer requests until the input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        reply: dict[str, Any] = {"version": contestant.version, "torch": torch.__version__}
        if request["do"] in ("begin", "next"):
            if request["do"] == "begin":
                start = lambda: contestant.begin(Path(request["frames"]), request["boxes"])  # noqa: B023, E731
                seconds, masks = timed(start, options.device)
            else:
                seconds, masks = timed(contestant.next, options.device)
            if request.get("save"):
                np.save(request["save"], np.packbits(masks, axis=-1))
            reply = {"seconds": seconds}
        replies.write(json.dumps(reply | {"memory_mib": memory_mib()}) + "\n")
        replies.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("implementation", choices=IMPLEMENTATIONS)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--runtime", help="of maskwright")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--run-before")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    with contextlib.redirect_stdout(sys.stderr):  # what the implementation prints is no reply
        if options.run_before:
            run_before(options.run_before)
        with precision(options):
            serve(IMPLEMENTATIONS[options.implementation](options), options, replies)


if __name__ == "__main__":
    main()
