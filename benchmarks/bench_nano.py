"""How long nano takes for a photograph and for a followed frame, verb by verb, on this machine's processor.

Model-only: no reading, no resizing, no drawing. The table says how far the masks are from those of the same
network in double precision, as trained. Writes to benchmarks/results/.

    python benchmarks/bench_nano.py --threads 2
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from stamp import stamp

import maskwright as mw
from maskwright.model.candidates import Chosen, choose_tracked, take
from maskwright.model.memory_bank import MemoryBank, empty_bank
from maskwright.model.prompt_encoder import BOX_END, BOX_START, NO_POINT, PromptTensors
from maskwright.model.sam2 import SAM2, Slots
from maskwright.pixels.metrics import iou
from maskwright.pixels.preprocess import preprocess
from maskwright.runtime.eager import place
from maskwright.runtime.select import choose
from maskwright.weights.fetch import locate
from maskwright.weights.load import build, load_checkpoint

VERBS = ("encode", "recall", "decode", "remember")
AGREE = 0.99
"""Smallest IoU with the masks of double precision."""


class Film:
    """A drawn disc that moves over a real-looking texture, and a network that follows it."""

    def __init__(self, network: SAM2, frames: int, dtype: torch.dtype) -> None:
        self.network, self.dtype = network.to(dtype).requires_grad_(False), dtype
        config = network.config
        rng = np.random.default_rng(0)
        texture = np.kron(rng.integers(40, 160, (45, 80, 3)), np.ones((16, 16, 1))).astype(np.uint8)
        rows, columns = np.mgrid[:720, :1280]
        self.pixels, self.discs = [], []
        for number in range(frames):
            disc = (rows - 360) ** 2 + (columns - 400 - 12 * number) ** 2 < 110**2
            picture = np.where(disc[..., None], np.uint8([220, 60, 40]), texture)
            pixels = preprocess(picture, config.image_size, config.pixel_mean, config.pixel_std)[None]
            self.pixels.append(pixels.to(dtype).contiguous(memory_format=torch.channels_last))
            self.discs.append(disc)

    def follow(self) -> tuple[list[np.ndarray], dict[str, list[float]]]:
        """Masks (at stride 4) of all frames after the first, and the milliseconds of every verb."""
        network, config = self.network, self.network.config
        bank = empty_bank(
            config, 1, config.num_memories, config.num_pointers, torch.device("cpu"), self.dtype
        )
        spent: dict[str, list[float]] = {verb: [] for verb in VERBS}

        def timed(verb: str, call: Callable[..., object], *arguments: object) -> object:
            started = time.perf_counter()
            found = call(*arguments)
            spent[verb].append(1e3 * (time.perf_counter() - started))
            return found

        masks = []
        none = PromptTensors(torch.zeros(1, 1, 2, 2, dtype=self.dtype), torch.full((1, 1, 2), NO_POINT))
        given = torch.from_numpy(self.discs[0].astype(np.float32))[None, None]
        size = (config.image_size, config.image_size)
        given = torch.nn.functional.interpolate(given, size, mode="bilinear", antialias=True)[0] >= 0.5
        direction, span = torch.tensor(1), torch.tensor(float(config.num_pointers - 1), dtype=self.dtype)
        for number, pixels in enumerate(self.pixels):
            features = timed("encode", network.encode_image, pixels)
            if number == 0:
                chosen = network.adopt(features, given.to(self.dtype))
            else:
                now = torch.tensor([number])
                there = timed("recall", network.recall, features, bank, now, direction, span)
                answer = timed("decode", network.decode, there, none)
                chosen = choose_tracked(*answer, single=False, delta=0.0, threshold=None)
                masks.append((chosen.logits_OHW[0] > 0).numpy())
            self._remember(features, chosen, bank, number, timed)
        return masks, spent

    def _remember(
        self,
        features: object,
        chosen: Chosen,
        bank: MemoryBank,
        number: int,
        timed: Callable[..., object],
    ) -> None:
        def slot(count: int) -> torch.Tensor:
            return torch.tensor([0 if number == 0 else 1 + (number - 1) % (count - 1)])

        first = torch.tensor([number == 0])
        slots = Slots(torch.tensor([0]), slot(bank.frames_OS.shape[1]), slot(bank.pointer_frames_OP.shape[1]))
        arguments = (features, chosen, bank, slots, torch.tensor([number]), first, first)
        timed("remember", self.network.remember, *arguments)

    def boxed(self) -> np.ndarray:
        """The mask for a box around the disc of the first frame."""
        network = self.network
        scale = network.config.image_size / np.array((1280, 720))
        corners = torch.from_numpy(np.array(((290, 250), (511, 471))) * scale).to(self.dtype)[None, None]
        points = torch.nn.functional.pad(corners, (0, 0, 0, 1))
        labels = torch.tensor([[[BOX_START, BOX_END, NO_POINT]]])
        features = network.without_memory(network.encode_image(self.pixels[0]))
        decoded = network.decode(features, PromptTensors(points, labels))
        best = decoded.iou_BPM[:, :, 1:].argmax(-1) + 1
        return (take(decoded.logits_BPMHW, best)[0, 0] > 0).numpy()


def photograph(threads: int, rounds: int) -> list[float]:
    """Milliseconds of ``embed`` on a 1280 x 720 photograph in memory, resizing included."""
    picture = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), dtype=np.uint8)
    model = mw.load("nano", device="cpu")
    torch.set_num_threads(threads)
    times = []
    for _ in range(rounds + 2):
        started = time.perf_counter()
        model.embed(picture)
        times.append(1e3 * (time.perf_counter() - started))
    return times[2:]


@torch.inference_mode()
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--weights", type=Path, help="model file (default: the bundled nano)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    found = load_checkpoint(options.weights or locate("nano"))
    config = found.config.for_video
    network = place(build(config, found.state), choose("cpu", None))
    film = Film(network, options.frames, torch.float32)
    masks, spent = film.follow()
    box = film.boxed()
    exact = Film(build(config, found.state), 8, torch.float64)
    wanted, _ = exact.follow()
    agreement = [float(iou(ours, true)) for ours, true in zip(masks, wanted, strict=False)]
    boxed = float(iou(box, exact.boxed()))
    if min(*agreement, boxed) < AGREE:
        raise SystemExit(f"masks differ from those of double precision: IoU {min(*agreement, boxed):.4f}")
    # the first frames fill the memory and warm up
    rows = {verb: times[-(options.frames * 3 // 4) :] for verb, times in spent.items()}
    rows["tracked frame"] = [sum(parts) for parts in zip(*rows.values(), strict=True)]
    rows["embed, 1280 x 720"] = photograph(options.threads, 20)
    lines = [
        f"# nano, one object: video at {config.image_size} px, pictures at {found.config.image_size} px",
        "",
        f"{stamp()}; torch {torch.__version__}, float32, {options.threads} threads, "
        f"load {os.getloadavg()[0]:.1f}.",
        "",
        "| | p50 (ms) | p95 (ms) |",
        "|---|---|---|",
        *(f"| {n} | {np.percentile(t, 50):.1f} | {np.percentile(t, 95):.1f} |" for n, t in rows.items()),
        "",
        f"Masks against double precision: IoU {min(agreement):.4f} or more over {len(agreement)} followed "
        f"frames, {boxed:.4f} by box.",
    ]
    text = "\n".join(lines) + "\n"
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / f"nano-{options.threads}-threads.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
