"""Triton kernels: the same as their plain twins, and within the limits of the cards they are for."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from maskwright.pixels.postprocess import upscale
from maskwright.runtime.kernels.attention import attend_plain
from maskwright.runtime.kernels.masks import draw_packed_plain, pack, unpack

HERE = Path(__file__).parent


def triton_is_there() -> bool:
    """Of a version that the kernels were tried with: 3.6 comes with PyTorch 2.11."""
    try:
        major, minor = importlib.metadata.version("triton").split(".")[:2]
    except importlib.metadata.PackageNotFoundError:
        return False
    return (int(major), int(minor)) >= (3, 6)


needs_triton = pytest.mark.skipif(
    not triton_is_there(), reason="there is no Triton of 3.6 or later (it comes with PyTorch's CUDA wheels)"
)


def run(folder: Path, *arguments: str, **environment: str) -> str:
    """What a Python of its own prints; fails with all of it."""
    paths = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": paths, "TRITON_CACHE_DIR": str(folder), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@needs_triton
def test_kernels_under_the_interpreter(tmp_path: Path) -> None:
    said = run(
        tmp_path,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore::DeprecationWarning"),
        str(HERE / "interpreted.py"),
        TRITON_INTERPRET="1",
    )
    if " passed" not in said:
        pytest.skip("the interpreter of this Triton does not go with this NumPy")
    assert "skipped" not in said


@needs_triton
@pytest.mark.skipif(sys.platform != "linux", reason="Triton's compiler is for Linux")
def test_kernels_compile_for_cards_that_are_not_here(tmp_path: Path) -> None:
    said = run(
        tmp_path, "-W", "ignore", str(HERE / "compiled_kernels.py"), "small", "large", "masks", "merge"
    )
    found = {line["name"]: line for line in map(json.loads, said.splitlines())}
    assert found["small"]["shared"] <= 99 << 10  # sm_86, sm_89, sm_120
    assert found["large"]["shared"] <= 163 << 10  # sm_80
    assert found["small"]["tensor_cores"]
    assert found["large"]["tensor_cores"]
    assert set(found) == {"small", "large", "masks", "merge"}


def test_bits_are_in_the_order_of_numpy() -> None:
    bitmaps = torch.rand(2, 5, 21, generator=torch.Generator().manual_seed(0)) > 0.5
    packed = pack(bitmaps)
    assert np.array_equal(packed.numpy(), np.packbits(bitmaps.numpy(), axis=-1))
    assert np.array_equal(unpack(packed, 21), bitmaps.numpy())


def test_packed_masks_are_stretched_logits_above_the_threshold() -> None:
    logits = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = unpack(draw_packed_plain(logits, (37, 53), 0.5), 53)
    assert np.array_equal(found, (upscale(logits, (37, 53)) > 0.5).numpy())
    assert 0.05 < found.mean() < 0.95


def test_keys_beyond_the_length_do_not_count() -> None:
    query, key, value = (
        torch.randn(2, 1, n, 16, generator=torch.Generator().manual_seed(n)) for n in (3, 9, 9)
    )
    found = attend_plain(query, key, value, None, lengths_N=torch.tensor([4, 0]))
    wanted = attend_plain(query[:1], key[:1, :, :4], value[:1, :, :4], None)
    torch.testing.assert_close(found[:1], wanted)
    assert not found[1].any()
