"""Single kernels for bench_gpu.py: attention to memories, and masks from the device to the host."""

from __future__ import annotations

import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from maskwright.pixels.postprocess import upscale
from maskwright.runtime.kernels.attention import attend_split
from maskwright.runtime.kernels.masks import draw_packed, draw_packed_plain, unpack
from maskwright.runtime.select import dtype_name

Row = Callable[..., None]
Note = Callable[[str], None]
CHANNELS, VALUES = 256, 64
FRAME_KEYS, POINTER_KEYS = 7 * 4096, 16 * 4


def attention(device: str, quick: bool, row: Row, note: Note) -> None:
    """The memory cross-attention of one layer: milliseconds, TFLOP/s and error by several kernels."""
    queries, keys = (64, 512) if quick else (4096, FRAME_KEYS + POINTER_KEYS)
    for dtype in (torch.float32,) if device == "cpu" else (torch.bfloat16, torch.float16, torch.float32):
        for objects in (1, 2) if quick else (1, 4, 8):
            generator = torch.Generator().manual_seed(0)
            query, key, value = (
                torch.randn(objects, 1, length, width, generator=generator).to(device, dtype)
                for length, width in ((queries, CHANNELS), (keys, CHANNELS), (keys, VALUES))
            )
            few = query[:, :, :32].float()  # of the queries: the whole score matrix is large
            wanted = F.scaled_dot_product_attention(few.double(), key.double(), value.double()).float()
            work = 2 * objects * queries * keys * (CHANNELS + VALUES)
            for name, kernel in _kernels(device).items():
                try:
                    found = kernel(query, key, value)
                    spent = milliseconds(partial(kernel, query, key, value), device, quick)
                except Exception as error:
                    note(f"{name}, {dtype}, {objects} objects: {type(error).__name__}: {str(error)[:200]}")
                    continue
                row(
                    "Attention to memories, one layer",
                    kernel=name,
                    dtype=dtype_name(dtype),
                    objects=objects,
                    ms=spent,
                    tflops=work / spent / 1e9,
                    error=float((found[:, :, :32].float() - wanted).abs().max()),
                )


def _kernels(device: str) -> dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]:
    def padded(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        wide = F.pad(value, (0, CHANNELS - VALUES))
        return F.scaled_dot_product_attention(query, key, wide)[..., :VALUES]

    def by(backend: SDPBackend, work: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        with sdpa_kernel(backend):
            return work(*inputs)

    kernels: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
        "PyTorch's choice, 256/64": F.scaled_dot_product_attention,
        "PyTorch's choice, values padded to 256": padded,
    }
    if device != "cpu":
        kernels |= {
            "flash, values padded to 256": partial(by, SDPBackend.FLASH_ATTENTION, padded),
            "cuDNN, 256/64": partial(by, SDPBackend.CUDNN_ATTENTION, F.scaled_dot_product_attention),
            "memory-efficient, 256/64": partial(
                by, SDPBackend.EFFICIENT_ATTENTION, F.scaled_dot_product_attention
            ),
        }
    if device != "cpu" or _interpreted():
        for splits in (1, 2, 4, 8, None):
            kernels[f"ours, {splits or 'chosen'} splits"] = partial(_split, splits)
    return kernels


def _split(splits: int | None, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return attend_split(query, key, value, None, splits=splits)


def masks(device: str, quick: bool, row: Row, note: Note) -> None:
    """Low-resolution logits on the device to bitmaps in host memory, by four ways."""
    size, side = ((54, 96), 32) if quick else ((1080, 1920), 256)
    ways: dict[str, Callable[[Tensor], object]] = {
        "stretched, bytes downloaded": lambda logits: (upscale(logits, size) > 0).cpu().numpy(),
        "packed, unpacked on the host": lambda logits: unpack(draw_packed_plain(logits, size), size[1]),
        "packed": lambda logits: draw_packed_plain(logits, size).cpu(),
    }
    if device != "cpu" or _interpreted():
        ways["one kernel, unpacked on the host"] = lambda logits: unpack(draw_packed(logits, size), size[1])
        ways["one kernel, packed"] = lambda logits: draw_packed(logits, size).cpu()
    for number in (1, 2) if quick else (1, 4, 8, 64):
        noise = torch.randn(number, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        logits = F.interpolate(noise, (side, side), mode="bicubic")[:, 0].to(device)
        for name, work in ways.items():
            try:
                spent = milliseconds(partial(work, logits), device, quick)
                other = (
                    int((draw_packed(logits, size) != draw_packed_plain(logits, size)).sum())
                    if ("kernel" in name)
                    else 0
                )
            except Exception as error:
                note(f"{name}, {number} masks: {type(error).__name__}: {str(error)[:200]}")
                continue
            row("Masks to the host", way=name, masks=number, size=list(size), ms=spent, other_bytes=other)


def milliseconds(work: Callable[[], object], device: str, quick: bool) -> float:
    """Median of single calls, the device waited for at both ends."""
    finish = torch.cuda.synchronize if device.startswith("cuda") else (lambda: None)
    times: list[float] = []
    for number in range(3 if quick else 25):
        finish()
        began = time.perf_counter()
        work()
        finish()
        if number >= (1 if quick else 5):
            times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times)


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1" and importlib.util.find_spec("triton") is not None
