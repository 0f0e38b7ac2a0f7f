"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Model = Annotated[
    str, typer.Option("--model", "-m", help="A name from `maskwright models`, or a model file.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; the best one here by default.")]
Dtype = Annotated[
    str | None,
    typer.Option(help="float32 (the default, exact), bfloat16, float16, or fast: what suits the device."),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        help="Side of the network's input in pixels, a multiple of 32.", show_default="the model's own"
    ),
]
