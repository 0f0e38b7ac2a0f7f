"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Model = Annotated[
    str, typer.Option("--model", "-m", help="A name from `maskwright models`, or a model file.")
]
FreeModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A name from `maskwright models`, or a model file.",
        show_default="nano; with --target-fps any that is on this machine",
    ),
]
"""Of commands that have --target-fps."""
TargetFps = Annotated[
    float | None,
    typer.Option(
        "--target-fps",
        metavar="FPS",
        help="Take the most accurate model, input size, dtype and runtime that keep up with so many a second "
        "here: tracked frames, or photographs. Measures for some seconds the first time.",
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; the best one here by default.")]
Dtype = Annotated[
    str | None,
    typer.Option(
        help="float32 (the default, exact), bfloat16, float16, fast (what suits the device), or int8 "
        "(official models on processors)."
    ),
]
Runtime = Annotated[
    str | None,
    typer.Option(
        help="What executes the model: eager (PyTorch), compiled (torch.compile), cuda-graphs (on GPUs), "
        "openvino, or onnx (ONNX Runtime).",
        show_default="eager; for an exported folder what is installed; --target-fps chooses",
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        help="Side of the network's input in pixels, a multiple of 32.", show_default="the model's own"
    ),
]
