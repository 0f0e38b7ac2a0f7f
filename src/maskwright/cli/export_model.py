"""``maskwright export-model``: a model as a folder of ONNX graphs."""

from __future__ import annotations

from pathlib import Path


def write_model(model: str, out: Path, *, image_size: int | None, opset: int | None, overwrite: bool) -> None:
    """Export ``model`` into ``out`` and say what was written and how it is used.

    Raises:
        UnknownModelError: neither a known name nor a file.
        WeightsError: the file cannot be fetched or read.
        InputError: an impossible input size or opset, or a PyTorch that cannot export.
        MissingExtraError: the packages for exporting are not installed.
        OutputError: the folder cannot be written, or exists.
    """
    from maskwright.cli.progress import Watch
    from maskwright.cli.terminal import print_line
    from maskwright.facade import export_model

    watch = Watch()
    with watch.warnings():
        manifest = export_model(
            model,
            out,
            image_size=image_size,
            opset=opset,
            overwrite=overwrite,
            told=lambda step: watch.say(f"exporting {step}"),
        )
    for size, graphs in manifest.graphs.items():
        megabytes = sum((out / graph.file).stat().st_size for graph in graphs.values()) / 1e6
        print_line(f"{out / str(size)}: {', '.join(graphs)} at {size} px, {megabytes:.0f} MB")
    print_line(f"{out}: {manifest.config.name}, opset {manifest.opset}, float32")
    print_line(f'load it with maskwright.load("{out}") or --model {out}; --runtime openvino or onnx chooses')
