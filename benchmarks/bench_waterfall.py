"""What every technique of the runtime gains by itself on a processor, and what it costs in accuracy.

Each row of the table has one technique more than the row it is compared with; all rows of a group take turns,
and the first is measured twice: gains within the difference of the two are noise. The error is that of what
the verb returns, relative to the plain network in float32. Weights and pixels are random; nano has the
weights that it comes with. Writes to benchmarks/results/.

    python benchmarks/bench_waterfall.py --threads 2 --rounds 7
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch
from contest import save_random_weights
from stamp import stamp
from torch import Tensor

from maskwright.config import ModelConfig
from maskwright.measure.others import config_file_of
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.memory_bank import MemoryBank, empty_bank
from maskwright.model.prompt_encoder import NO_POINT, PromptTensors
from maskwright.model.sam2 import SAM2
from maskwright.runtime.absorb import absorb_decoder
from maskwright.runtime.bands import work_in_bands
from maskwright.runtime.cpu import memory, trunk
from maskwright.runtime.cpu.pack import pack
from maskwright.runtime.eager import Eager
from maskwright.runtime.fold import fold_normalisation, merge_neck
from maskwright.runtime.protocol import Moment
from maskwright.runtime.select import FAST, choose
from maskwright.weights.fetch import locate
from maskwright.weights.load import Checkpoint, build, load_checkpoint

HERE = Path(__file__).parent
Change = Callable[[SAM2], object]
Patch = Callable[[], contextlib.AbstractContextManager[object]]


class Row(NamedTuple):
    """One line: a runtime, and what it is compared with."""

    name: str
    before: str | None
    dtype: str = "float32"
    changes: tuple[Change, ...] = ()
    patch: Patch = contextlib.nullcontext
    """What has to hold while it is built and run."""


class Group(NamedTuple):
    """Rows that do the same work."""

    title: str
    config: ModelConfig
    work: Callable[[Eager], Callable[[], list[Tensor]]]
    """Prepares it, with a runtime; what comes back does it once and returns the results."""
    rows: tuple[Row, ...]


def torch_attends() -> contextlib.AbstractContextManager[object]:
    """PyTorch's own attention in the packed trunk."""

    def plain(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)

    stack = contextlib.ExitStack()
    stack.enter_context(mock.patch.object(trunk, "attend", plain))
    stack.enter_context(mock.patch.object(memory, "attend", plain))
    return stack


def projected_values() -> contextlib.AbstractContextManager[object]:
    """Memories projected to values, as in the plain network."""

    class Projected(memory.PackedRotary):
        def __init__(self, plain: torch.nn.Module, dtype: torch.dtype, *, absorb: bool = False) -> None:
            super().__init__(plain, dtype)

    return mock.patch.object(memory, "PackedRotary", Projected)


def raw_values() -> contextlib.AbstractContextManager[object]:
    """Memories taken as they are in float32 too, whatever the processor."""
    return mock.patch.object(memory, "mixes_raw", return_value=True)


@contextlib.contextmanager
def projected_and_torch() -> Iterator[None]:
    with projected_values(), torch_attends():
        yield


def packed(dtype: torch.dtype) -> Change:
    return lambda network: pack(network, dtype)


def channels_last(network: SAM2) -> object:
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


BF16 = torch.bfloat16
ENCODE = (
    Row("plain network", None),
    Row("neck and decoder projections merged", "plain network", changes=(merge_neck,)),
    Row("packed layers, maps in pieces", "plain network", changes=(packed(torch.float32),)),
    Row("bfloat16 by autocast", "plain network", "bfloat16"),
    Row(
        "bfloat16, packed, PyTorch's attention",
        "bfloat16 by autocast",
        "bfloat16",
        (packed(BF16),),
        torch_attends,
    ),
    Row(
        "bfloat16, packed, attention in blocks",
        "bfloat16, packed, PyTorch's attention",
        "bfloat16",
        (packed(BF16),),
    ),
    Row(
        "all of it",
        "bfloat16, packed, attention in blocks",
        "bfloat16",
        (merge_neck, packed(BF16)),
    ),
)
RECALL = (
    Row("plain network", None),
    Row("packed layers", "plain network", changes=(packed(torch.float32),), patch=projected_values),
    Row(
        "packed layers, raw memories in tiles",
        "packed layers",
        changes=(packed(torch.float32),),
        patch=raw_values,
    ),
    Row("bfloat16 by autocast", "plain network", "bfloat16"),
    Row(
        "bfloat16, packed, PyTorch's attention",
        "bfloat16 by autocast",
        "bfloat16",
        (packed(BF16),),
        projected_and_torch,
    ),
    Row(
        "bfloat16, packed, attention in blocks",
        "bfloat16, packed, PyTorch's attention",
        "bfloat16",
        (packed(BF16),),
        projected_values,
    ),
    Row(
        "bfloat16, packed, blocks, raw memories",
        "bfloat16, packed, attention in blocks",
        "bfloat16",
        (packed(BF16),),
    ),
)
DECODE = (
    Row("plain network", None),
    Row("attention to few tokens absorbed", "plain network", changes=(absorb_decoder,)),
)
NANO = (
    Row("plain network", None),
    Row("normalisations folded", "plain network", changes=(fold_normalisation,)),
    Row("channels last", "normalisations folded", changes=(fold_normalisation, channels_last)),
    Row("bands", "channels last", changes=(fold_normalisation, channels_last, work_in_bands)),
    Row("neck merged", "bands", changes=(fold_normalisation, channels_last, work_in_bands, merge_neck)),
    Row(
        "bfloat16",
        "neck merged",
        "bfloat16",
        (fold_normalisation, channels_last, work_in_bands, merge_neck),
    ),
)


def encoding(runtime: Eager) -> Callable[[], list[Tensor]]:
    side = runtime.config.image_size
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    return lambda: list(runtime.encode_image(pixels).levels)


def recalling(runtime: Eager) -> Callable[[], list[Tensor]]:
    """One object with full memories and pointers."""
    config = runtime.config
    features, bank = random_features(config), random_bank(config)
    now = Moment(torch.tensor([config.num_memories]), 1, config.num_pointers - 1)
    return lambda: [runtime.recall(features, bank, now, masked=False).low_BCHW]


def decoding(runtime: Eager) -> Callable[[], list[Tensor]]:
    """Eight prompts of one click each."""
    side = runtime.config.image_size
    generator = torch.Generator().manual_seed(2)
    points = torch.rand(1, 8, 2, 2, generator=generator) * side
    prompts = PromptTensors(points, torch.tensor([1, NO_POINT]).expand(1, 8, -1))
    features = random_features(runtime.config)
    return lambda: [runtime.decode(features, prompts).logits_BPMHW]


def random_features(config: ModelConfig) -> ImageFeatures:
    side, width = config.image_size // 16, config.width
    generator = torch.Generator().manual_seed(1)
    shapes = (width, side), (width // 4, 2 * side), (width // 8, 4 * side)
    return ImageFeatures(*(torch.randn(1, c, s, s, generator=generator) for c, s in shapes))


def random_bank(config: ModelConfig) -> MemoryBank:
    bank = empty_bank(config, 1, config.num_memories, config.num_pointers, "cpu", torch.float32)
    generator = torch.Generator().manual_seed(3)
    for part in (bank.memories_OSID, bank.pointers_OPC):
        part.copy_(torch.randn(part.shape, generator=generator))
    bank.frames_OS.copy_(torch.arange(config.num_memories))
    bank.pointer_frames_OP.copy_(
        torch.arange(config.num_pointers) + config.num_memories - config.num_pointers
    )
    bank.prompted_OS[:, 0] = True
    return bank


class Result(NamedTuple):
    """What came out for a row."""

    row: Row
    milliseconds: list[float]
    error: float


def measure(group: Group, checkpoint: Checkpoint, rounds: int) -> tuple[list[Result], float]:
    """Results of all rows, and the median of the first row measured again, in milliseconds."""
    again = group.rows[0]._replace(name="again")
    half = choose("cpu", FAST).dtype is BF16  # elsewhere it is emulated
    rows = [row for row in group.rows if half or row.dtype == "float32"]
    works = {}
    for row in (*rows, again):
        with row.patch():
            network = build(group.config, checkpoint.state).requires_grad_(False)
            for change in row.changes:
                change(network)
            works[row.name] = (row, group.work(Eager(network, choose("cpu", row.dtype))))
    times: dict[str, list[float]] = {name: [] for name in works}
    outcome = {}
    names = list(works)
    for number in range(rounds + 1):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            row, work = works[name]
            with row.patch():
                started = time.perf_counter()
                outcome[name] = work()
                if number:
                    times[name].append(1e3 * (time.perf_counter() - started))
    wanted = outcome[group.rows[0].name]
    results = [Result(row, times[row.name], error(outcome[row.name], wanted)) for row in rows]
    return results, statistics.median(times["again"])


def error(found: list[Tensor], wanted: list[Tensor]) -> float:
    """Of all tensors, the largest relative one."""
    return max(
        float((a.double() - b.double()).norm() / b.double().norm())
        for a, b in zip(found, wanted, strict=True)
    )


def table(group: Group, results: list[Result], again: float) -> list[str]:
    middles = {result.row.name: statistics.median(result.milliseconds) for result in results}
    first = middles[group.rows[0].name]
    lines = [f"## {group.title}", "", f"The plain network a second time: {again:.1f} ms.", ""]
    lines += ["| | p50 (ms) | spread | gain alone | against plain | error |", "|---|---|---|---|---|---|"]
    for row, times, wrong in results:
        middle = middles[row.name]
        alone = "" if row.before is None else f"{middles[row.before] / middle:.2f}x"
        spread = f"{min(times):.1f} to {max(times):.1f}"
        lines.append(
            f"| {row.name} | {middle:.1f} | {spread} | {alone} | {first / middle:.2f}x | {wrong:.1e} |"
        )
    return [*lines, ""]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="sam2.1-tiny")
    parser.add_argument("--size", type=int, default=1024, help="side of its input in pixels")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="*", choices=["encode", "recall", "decode", "nano"])
    parser.add_argument("--output", type=Path, default=HERE / "results")
    options = parser.parse_args(argv)
    load = os.getloadavg()[0]
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "weights.pt")
        save_random_weights(config_file_of(options.model), path)
        official, nano = load_checkpoint(path), load_checkpoint(locate("nano"))
    config = official.config.at(options.size)
    what = f"{options.model} at {options.size} px"
    groups = {
        "encode": (Group(f"A picture, {what}", config, encoding, ENCODE), official),
        "recall": (Group(f"One object's memories, {what}", config, recalling, RECALL), official),
        "decode": (Group(f"Eight clicks, {what}", config, decoding, DECODE), official),
        "nano": (Group(f"A picture, nano at {nano.config.image_size} px", nano.config, encoding, NANO), nano),
    }
    lines = [
        f"# What each technique gains on a processor: {what}, and nano",
        "",
        f"{stamp()}; torch {torch.__version__}, {options.threads} threads, {options.rounds} rounds in turns, "
        f"load at the start {load:.1f}.",
        "",
        "Gain alone: against the row that has everything but this. Error: relative to the plain network in "
        "float32.",
        "",
    ]
    for name, (group, checkpoint) in groups.items():
        if options.only is None or name in options.only:
            lines += table(group, *measure(group, checkpoint, options.rounds))
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "waterfall-cpu.md"
    path.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
