"""What the processor is and which instruction sets it has, as far as they decide what is quick."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

KNOWN = (
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "bf16",
    "i8mm",
    "sve",
)
"""Names as Linux writes them; those from ``asimd`` on are Arm's."""
ASKED_OF_TORCH = {
    "_is_avx2_supported": "avx2",
    "_is_avx512_supported": "avx512f",
    "_is_avx512_bf16_supported": "avx512_bf16",
    "_is_amx_tile_supported": "amx_tile",
}
"""Functions of ``torch.cpu`` that answer on every system, each since another version of torch."""
LISTING = Path("/proc/cpuinfo")


@lru_cache(maxsize=1)
def instruction_sets() -> frozenset[str]:
    """Of :data:`KNOWN` those of this processor; on systems other than Linux those that torch can tell."""
    import torch

    found = listed(text_of(LISTING)) | answered(torch.cpu)
    # every processor with tiles multiplies bfloat16 in them; torch has no question for that
    return found | {"amx_bf16"} if "amx_tile" in found else found


def listed(cpuinfo: str) -> frozenset[str]:
    """Those that stand in the text of ``/proc/cpuinfo``: ``flags`` of x86, ``Features`` of Arm."""
    pairs = (line.partition(":") for line in cpuinfo.splitlines())
    words = next((text.split() for name, _, text in pairs if name.strip() in ("flags", "Features")), [])
    return frozenset(words).intersection(KNOWN)


def answered(module: object) -> frozenset[str]:
    """Those that a module like ``torch.cpu`` says yes to; it need not have all of the questions."""
    questions: Iterable[tuple[Callable[[], bool] | None, str]] = (
        (getattr(module, question, None), name) for question, name in ASKED_OF_TORCH.items()
    )
    return frozenset(name for ask, name in questions if ask is not None and ask())


def processor_name() -> str:
    """What the processor calls itself."""
    lines = text_of(LISTING).splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def described() -> str:
    """Its name and, as the same name may stand for very different ones, its instruction sets."""
    sets = ", ".join(sorted(instruction_sets())) or "no instruction sets that make a difference here"
    return f"{processor_name()} ({sets})"


def text_of(path: Path) -> str:
    """What the system writes there; nothing where it does not."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return ""
