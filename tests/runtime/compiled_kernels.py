"""Compile the kernels for cards that need not be here, and print a line of JSON for each.

Run by test_kernels.py in a process of its own, because the interpreter must not have been asked for.
"""

from __future__ import annotations

import json
import sys

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from maskwright.runtime.kernels import attention_triton, masks_triton

POINTERS = {
    "visible_NT": "*u8",
    "length_N": "*i64",
    "sums_NSIV": "*fp32",
    "most_NSI": "*fp32",
    "total_NSI": "*fp32",
    "logits_NHW": "*fp32",
    "bits_NHB": "*u8",
}
FLOATS = ("scale", "row_scale", "column_scale", "threshold")
WIDTHS = {"CHANNELS": 256, "VALUES": 64}
ATTENTION = {"SPLITS": 4, "HAS_VISIBLE": True, "HAS_LENGTH": True, **WIDTHS}
KERNELS = {
    "small": (attention_triton.attend_to_part, "bf16", (64, 64, 4), 80),
    "large": (attention_triton.attend_to_part, "fp16", (128, 64, 8), 90),
    "exact": (attention_triton.attend_to_part, "fp32", (32, 32, 4), 80),
    "merge": (attention_triton.merge_parts, "bf16", (64, 0, 4), 80),
    "masks": (masks_triton.draw_packed, "fp32", (0, 0, 4), 80),
}


def compiled(name: str) -> dict[str, object]:
    kernel, dtype, (rows, columns, warps), capability = KERNELS[name]
    constants = {
        **ATTENTION,
        "QUERIES_PER_TILE": rows,
        "KEYS_PER_TILE": columns,
        "EXACT": dtype == "fp32",
        "BYTES_PER_TILE": 64,
        **dict.fromkeys(("query_d", "key_d", "value_v"), 1),  # as a launch specialises them
    }
    constants = {key: value for key, value in constants.items() if key in kernel.arg_names}
    signature = {key: _type(key, dtype, constants) for key in kernel.arg_names}
    aligned = {
        (at,): [["tt.divisibility", 16]]
        for at, (key, kind) in enumerate(signature.items())
        if kind.startswith("*") or key.endswith(("_n", "_i", "_t"))
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=aligned)
    options = {"num_warps": warps, "num_stages": 2}
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    return {"name": name, "shared": made.metadata.shared, "tensor_cores": "mma" in made.asm["ptx"]}


def _type(key: str, dtype: str, constants: dict[str, object]) -> str:
    if key in constants:
        return "constexpr"
    if key in POINTERS:
        return POINTERS[key]
    if key in FLOATS:
        return "fp32"
    return f"*{dtype}" if key in ("query_NID", "key_NTD", "value_NTV", "out_NIV") else "i32"


for wanted in sys.argv[1:]:
    print(json.dumps(compiled(wanted)))
