"""Which device, compute dtype and runtime: one table, and the only place that asks "is there CUDA?".

The compute dtype is what matrix products and convolutions run in. The default is
float32 on every device, which is exact. ``dtype="fast"`` takes the dtype of the table; it is not the default,
because its masks differ: those of single clicks, in bfloat16, by several per cent of their pixels. It suits
the official models; which dtype is quicker for a model at hand, ``load(..., target_fps=...)`` measures.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from maskwright.errors import InputError
from maskwright.runtime.processor import instruction_sets


@dataclass(frozen=True)
class Hardware:
    """One row of the table: a kind of hardware, its fast compute dtype, and why."""

    device: str
    """Device type as PyTorch names it."""
    capability: tuple[int, int]
    """Lowest CUDA compute capability that the row is for; (0, 0) where there is none."""
    fast: torch.dtype
    why: str
    needs: str = ""
    """Instruction set of the processor that the row is for, as ``runtime.processor`` names it."""


TABLE: tuple[Hardware, ...] = (
    Hardware("cuda", (8, 0), torch.bfloat16, "bfloat16 tensor cores, the range of float32"),
    Hardware("cuda", (7, 0), torch.float16, "float16 tensor cores; bfloat16 would be emulated here"),
    Hardware("cuda", (0, 0), torch.float32, "without tensor cores half precision is not faster"),
    Hardware("mps", (0, 0), torch.float32, "half precision is not verified here"),
    Hardware("cpu", (0, 0), torch.bfloat16, "AMX multiplies tiles of bfloat16", "amx_bf16"),
    Hardware("cpu", (0, 0), torch.bfloat16, "AVX512-BF16: two products for one of float32", "avx512_bf16"),
    Hardware("cpu", (0, 0), torch.float32, "bfloat16 of Arm processors is not verified here", "bf16"),
    Hardware("cpu", (0, 0), torch.float32, "no instructions for half precision, which would be emulated"),
)
"""The first row that fits wins."""

FAST = "fast"
"""What to ask for instead of a dtype to have the one of the table."""

DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
    "int8": torch.int8,
}
"""Names of compute dtypes that a user may ask for."""
INT8_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
"""Instruction sets that multiply and add int8 without losing bits on the way."""

EAGER = "eager"
CUDA_GRAPHS = "cuda-graphs"
COMPILED = "compiled"
RUNTIMES = {
    EAGER: "PyTorch, with parts of ours for processors; needs nothing more",
    CUDA_GRAPHS: "the same with whole verbs replayed on a GPU; not measured on one yet",
    COMPILED: "PyTorch through torch.compile; on processors slower than the default, not run on a GPU yet",
    "openvino": "exported graphs; in bfloat16 as quick for a picture, slower for a tracked frame",
    "onnx": "exported graphs, for where ONNX Runtime is in use already",
}
"""What can execute the verbs, and why one would take it; the first is the default."""
GRAPH_RUNTIMES = {"openvino": "openvino", "onnx": "onnxruntime"}
"""Engines that execute exported graphs, the preferred one first, and the package of each; extras have their
names."""


def dtype_name(dtype: str | torch.dtype) -> str:
    """``float32`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")


@dataclass(frozen=True)
class Choice:
    """Where and in what the verbs run."""

    device: torch.device
    dtype: torch.dtype
    """Compute dtype; int8 is that of the widest layers."""
    reason: str
    """One line for people: why this device and dtype."""

    @property
    def maps(self) -> torch.dtype:
        """What is computed in beside layers in int8: the fast dtype of the device; else the compute dtype."""
        return row_of(self.device).fast if self.dtype is torch.int8 else self.dtype

    @property
    def dtype_name(self) -> str:
        """Such as ``float32``."""
        return dtype_name(self.dtype)


def choose(device: str | torch.device | None = None, dtype: str | torch.dtype | None = None) -> Choice:
    """Settle the device (the best one here, if None) and the compute dtype (float32, if None).

    Raises:
        InputError: an unknown device or dtype, or one that this machine does not have.
    """
    place = _best_device() if device is None else _checked_device(device)
    how = "asked for" if device is not None else "the best device here"
    row = row_of(place)
    name = dtype_name(row.fast)
    if dtype is None:
        other = "" if row.fast is torch.float32 else f" ('fast' is {name}: {row.why})"
        return Choice(place, torch.float32, f"{place} ({how}); float32: exact{other}")
    if dtype == FAST:
        return Choice(place, row.fast, f"{place} ({how}); {name}: {row.why}")
    wanted = _checked_dtype(dtype)
    _reject_emulated(place, wanted)
    if wanted is torch.int8:
        _reject_without_int8(place)
    return Choice(place, wanted, f"{place} ({how}); dtype asked for")


def checked_runtime(name: str | None) -> str | None:
    """The same; None is the default of what is loaded.

    Raises:
        InputError: there is no such runtime.
    """
    if name is not None and name not in RUNTIMES:
        raise InputError(f"unknown runtime {name!r}; use one of {', '.join(RUNTIMES)}")
    return name


def runs_graphs(runtime: str | None) -> bool:
    """Whether this runtime executes exported graphs."""
    return runtime in GRAPH_RUNTIMES


def available_devices() -> list[torch.device]:
    """Every device of this machine that a model can run on, the preferred one first."""
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    found = [torch.device("cuda", index) for index in range(num_gpus)]
    if torch.backends.mps.is_available():
        found.append(torch.device("mps"))
    return [*found, torch.device("cpu")]


def row_of(place: torch.device) -> Hardware:
    """The row of the table that a device of this machine falls into."""
    capability = torch.cuda.get_device_capability(place) if place.type == "cuda" else (0, 0)
    has = instruction_sets() | {""} if place.type == "cpu" else {""}
    return next(
        row for row in TABLE if row.device == place.type and row.capability <= capability and row.needs in has
    )


def _best_device() -> torch.device:
    return available_devices()[0]


def _checked_device(device: str | torch.device) -> torch.device:
    try:
        place = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"unknown device {device!r}; use one of {_listing()}") from error
    here = available_devices()
    if str(place) == "cuda" and torch.cuda.is_available():
        place = torch.device("cuda", torch.cuda.current_device())
    for found in here:
        if place in (found, torch.device(found.type, 0)):
            return found
    raise InputError(f"device {str(device)!r} is not available on this machine; use one of {_listing()}")


def _checked_dtype(dtype: str | torch.dtype) -> torch.dtype:
    wanted = DTYPES.get(dtype_name(dtype).lower())
    if wanted is None:
        known = dict.fromkeys(map(dtype_name, DTYPES.values()))
        raise InputError(f"unknown dtype {str(dtype)!r}; use {', '.join(known)} or {FAST}")
    return wanted


def _reject_emulated(place: torch.device, wanted: torch.dtype) -> None:
    """bfloat16 on a GPU without it runs, slower than float32 and by emulation: never what anybody wants."""
    if place.type == "cuda" and wanted is torch.bfloat16 and torch.cuda.get_device_capability(place) < (8, 0):
        name = torch.cuda.get_device_name(place)
        raise InputError(f"{name} has no bfloat16; use dtype='float16' or 'float32'")


def _reject_without_int8(place: torch.device) -> None:
    if place.type != "cpu":
        raise InputError(f"int8 is for processors; on {place} use dtype='fast'")
    if not INT8_PRODUCTS & instruction_sets():
        raise InputError("this processor has no instructions for int8 (VNNI, AMX); use dtype='fast'")


def _listing() -> str:
    return ", ".join(str(place) for place in available_devices())
