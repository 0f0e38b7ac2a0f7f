"""One implementation of SAM 2 in a process of its own, which bench_image.py talks to in lines of JSON.

Needs only the implementation itself, numpy and torch, so it also runs in an environment without maskwright.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F


class Answer(NamedTuple):
    """Three candidate masks for one click, on the host."""

    masks: np.ndarray
    """(3, h, w) bool."""
    logits: np.ndarray
    """(3, m, m), low resolution."""
    scores: np.ndarray


class Contestant(Protocol):
    """What is measured: from decoded RGB in host memory to features, from a click to masks in host memory."""

    version: str

    def embed(self, picture: np.ndarray) -> None: ...

    def click(self, x: float, y: float) -> Answer: ...


class Maskwright:
    def __init__(self, options: argparse.Namespace) -> None:
        import maskwright

        self.version = f"maskwright {maskwright.__version__}{how(options)}"
        self.points = maskwright.Points
        self.model = maskwright.load(options.weights, device=options.device, **ours(options))

    def embed(self, picture: np.ndarray) -> None:
        self.embedding = self.model.embed(picture)

    def click(self, x: float, y: float) -> Answer:
        masks = self.embedding.segment(self.points((x, y)), candidates=True)
        return Answer(masks.bitmaps[0], masks.logits[0], masks.scores[0])


class Official:
    def __init__(self, options: argparse.Namespace) -> None:
        from importlib.metadata import version

        from sam2.build_sam import build_sam2
        from sam2.sam2_image_predictor import SAM2ImagePredictor

        self.version = f"sam2 {version('sam2')}{how(options)}"
        model = build_sam2(options.config_file, options.weights, device=options.device)
        self.predictor = SAM2ImagePredictor(model)

    def embed(self, picture: np.ndarray) -> None:
        self.predictor.set_image(picture)

    def click(self, x: float, y: float) -> Answer:
        masks, scores, logits = self.predictor.predict(np.array([[x, y]]), np.array([1]))
        return Answer(masks.astype(bool), logits, scores)


class Transformers:
    """The model of transformers with pre- and post-processing of ours: its processor needs torchvision."""

    def __init__(self, options: argparse.Namespace) -> None:
        import transformers

        from maskwright.weights.keymaps import from_ours, is_memory
        from maskwright.weights.load import load_checkpoint

        self.version = f"transformers {transformers.__version__}{how(options)}"
        checkpoint = load_checkpoint(options.weights)
        state = {name: value for name, value in checkpoint.state.items() if not is_memory(name)}
        model = transformers.Sam2Model(transformers_config(transformers, checkpoint.config))
        model.load_state_dict(from_ours(state, "transformers"))
        self.model = model.eval().to(options.device)
        self.config, self.device = checkpoint.config, options.device

    @torch.inference_mode()
    def embed(self, picture: np.ndarray) -> None:
        side, config = self.config.image_size, self.config
        pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
        pixels = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (config.pixel_mean, config.pixel_std))
        self.features = self.model.get_image_embeddings(((pixels - mean) / std).to(self.device))
        self.size = picture.shape[:2]

    @torch.inference_mode()
    def click(self, x: float, y: float) -> Answer:
        h, w = self.size
        side = self.config.image_size
        point = torch.tensor([[[[x / w * side, y / h * side]]]], device=self.device)
        out = self.model(
            image_embeddings=self.features,
            input_points=point,
            input_labels=torch.ones(1, 1, 1, dtype=torch.int, device=self.device),
            multimask_output=True,
        )
        full = F.interpolate(out.pred_masks[0].float(), self.size, mode="bilinear", align_corners=False)
        logits = out.pred_masks[0, 0].float().clamp(-32, 32)
        return Answer(
            (full[0] > 0).cpu().numpy(), logits.cpu().numpy(), out.iou_scores[0, 0].float().cpu().numpy()
        )


def transformers_config(transformers: Any, config: Any) -> Any:
    trunk = config.trunk
    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=trunk.width,
        num_attention_heads=trunk.heads,
        image_size=[config.image_size] * 2,
        blocks_per_stage=list(trunk.depths),
        embed_dim_per_stage=list(trunk.channels),
        num_attention_heads_per_stage=[trunk.heads * 2**stage for stage in range(4)],
        window_size_per_stage=list(trunk.windows),
        window_positional_embedding_background_size=list(trunk.position_grid),
        global_attention_blocks=list(trunk.global_blocks),
    )
    vision = {
        "backbone_config": backbone.to_dict(),
        "backbone_channel_list": list(reversed(trunk.channels)),
        "backbone_feature_sizes": [[config.image_size // stride] * 2 for stride in (4, 8, 16)],
    }
    return transformers.Sam2Config(vision_config=vision)


IMPLEMENTATIONS: dict[str, Callable[[argparse.Namespace], Contestant]] = {
    "maskwright": Maskwright,
    "official": Official,
    "transformers": Transformers,
}


def how(options: argparse.Namespace) -> str:
    """What the version does not say: dtype and runtime, where they are not the plain ones."""
    plain = options.dtype == "float32"
    return "".join(f", {part}" for part in (options.runtime, None if plain else options.dtype) if part)


def ours(options: argparse.Namespace) -> dict[str, str]:
    """Arguments of ``maskwright.load``."""
    return {"dtype": options.dtype} | ({"runtime": options.runtime} if options.runtime else {})


def precision(options: argparse.Namespace) -> contextlib.AbstractContextManager[object]:
    """Autocast for the others, as they document it; maskwright knows its dtype."""
    if options.implementation == "maskwright" or options.dtype == "float32":
        return contextlib.nullcontext()
    return torch.autocast(options.device.partition(":")[0], getattr(torch, options.dtype))


def run_before(path: str) -> None:
    """Run a Python file that the implementation needs first, say a stand-in for a missing part."""
    spec = importlib.util.spec_from_file_location("run_before", path)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def timed(action: Callable[[], Any], device: str) -> tuple[float, Any]:
    """Seconds and result; the device has finished when the clock is read."""
    synchronise = torch.cuda.synchronize if device.startswith("cuda") else (lambda: None)
    synchronise()
    started = time.perf_counter()
    result = action()
    synchronise()
    return time.perf_counter() - started, result


def serve(contestant: Contestant, options: argparse.Namespace, replies: Any) -> None:
    """Answer requests until the input ends."""
    picture = np.load(options.picture)
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "embed":
            seconds, _ = timed(lambda: contestant.embed(picture), options.device)
            reply: dict[str, Any] = {"seconds": seconds}
        elif request["do"] == "click":
            x, y = request["at"]
            seconds, answer = timed(lambda x=x, y=y: contestant.click(x, y), options.device)
            if request.get("save"):
                np.savez(request["save"], **answer._asdict())
            reply = {"seconds": seconds}
        else:
            reply = {"version": contestant.version, "torch": torch.__version__}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("implementation", choices=IMPLEMENTATIONS)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--picture", required=True)
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
