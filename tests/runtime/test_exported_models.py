"""Whole models as graphs: nano from the command line to masks, tracks and files; the cache."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import maskwright as mw
from maskwright.budget.candidates import Candidate, Known
from maskwright.budget.store import Speeds
from maskwright.cli import main
from maskwright.config import NANO
from maskwright.facade import export_model
from maskwright.model.sam2 import SAM2
from maskwright.runtime.exported import opening
from maskwright.runtime.exported.manifest import FILE, Manifest
from small import small_clip

pytest.importorskip("openvino")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SIDE = 96
CLICK = mw.Points([(20, 20)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "nano"
    assert main(["export-model", "nano", "-o", str(path), "--image-size", str(SIDE)]) == 0
    return path


@pytest.fixture(scope="module")
def eager() -> mw.MaskModel:
    return mw.load("nano", device="cpu", image_size=SIDE)


@pytest.fixture(params=["openvino", "onnx"], scope="module")
def exported(request: pytest.FixtureRequest, folder: Path) -> mw.MaskModel:
    return mw.load(folder, runtime=request.param)


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return small_clip(20)


def test_the_model_says_what_it_is(eager: mw.MaskModel, exported: mw.MaskModel) -> None:
    assert repr(exported) == repr(eager)
    assert exported.runtime.fingerprint() == eager.runtime.fingerprint()
    assert exported.config == eager.config


def test_clicks_boxes_and_masks(eager: mw.MaskModel, exported: mw.MaskModel, clip: np.ndarray) -> None:
    images = [model.embed(clip[0]) for model in (exported, eager)]
    mask = mw.MaskPrompt(images[1].segment(CLICK).logits[0])
    asked: list[Sequence[Any]] = [(CLICK,), (CLICK, mw.Box(4, 10, 24, 30)), (mw.Box(0, 0, 60, 40), mask)]
    for prompts in asked:
        found, expected = (image.segment(*prompts, candidates=True) for image in images)
        assert (found.bitmaps != expected.bitmaps).mean() < 1e-3
        np.testing.assert_allclose(found.logits, expected.logits, atol=1e-2)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-3)


def test_everything_in_a_picture(eager: mw.MaskModel, exported: mw.MaskModel, clip: np.ndarray) -> None:
    found, expected = (
        model.automask(clip[0], points_per_side=4, min_score=0.3) for model in (exported, eager)
    )
    assert len(found) == len(expected) > 0
    np.testing.assert_array_equal(found.bitmaps, expected.bitmaps)


def test_a_track_of_twenty_frames(eager: mw.MaskModel, exported: mw.MaskModel, clip: np.ndarray) -> None:
    """Two objects, one from a box and one from a mask that is corrected later."""
    mask = np.zeros(clip.shape[1:3], bool)
    mask[30:44, 40:60] = True
    prompts = {1: mw.Box(4, 10, 24, 30), 2: {0: mask, 8: mw.Points([(50, 36), (10, 5)], [1, 0])}}
    runs = [list(model.track(list(clip), prompts)) for model in (exported, eager)]
    assert len(runs[0]) == len(runs[1]) == 20
    for found, expected in zip(*runs, strict=True):
        assert found.logits.shape == expected.logits.shape
        np.testing.assert_allclose(found.logits, expected.logits, atol=2e-2)
        assert (found.bitmaps != expected.bitmaps).mean() < 1e-3


def test_embeddings_are_shared(
    eager: mw.MaskModel, exported: mw.MaskModel, clip: np.ndarray, tmp_path: Path
) -> None:
    path = eager.embed(clip[0]).save(tmp_path / "picture.safetensors")
    expected = eager.embed(clip[0]).segment(CLICK)
    np.testing.assert_array_equal(exported.load_embedding(path).segment(CLICK).bitmaps, expected.bitmaps)


def test_the_installed_runtime_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert opening.installed_runtime() == "openvino"
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert opening.installed_runtime() == "onnx"
    assert mw.load(folder).name == "nano"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(mw.MissingExtraError, match=r"pip install 'maskwright\[openvino\]' or"):
        mw.load(folder)


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_exporting_needs_packages(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(mw.MissingExtraError, match=r"pip install 'maskwright\[onnx\]'"):
        export_model("nano", tmp_path / "new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"runtime": "tensorrt"},
            "unknown runtime 'tensorrt'; use one of eager, cuda-graphs, compiled, openvino, onnx",
        ),
        ({"runtime": "cuda-graphs", "device": "cpu"}, "need the plain runtime on a CUDA device"),
        ({"runtime": "openvino", "device": "cuda"}, "does not run on device='cuda'; use device='cpu'"),
        ({"runtime": "openvino", "dtype": "float16"}, "has no float16; use dtype='float32' or 'bfloat16'"),
        ({"runtime": "onnx", "dtype": "bfloat16"}, "has no bfloat16; use dtype='float32'"),
        ({"runtime": "onnx", "device": "mps"}, "does not run on device='mps'"),
    ],
)
def test_impossible_choices(options: dict[str, Any], message: str) -> None:
    with pytest.raises(mw.InputError, match=message):
        mw.load("nano", **options)


def test_a_folder_is_not_for_pytorch(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(mw.InputError, match="is a folder: runtime='eager' takes model files"):
        mw.load(folder, runtime="eager")
    with pytest.raises(mw.CheckpointError, match="is a folder, not a model file"):
        mw.load(tmp_path, runtime="onnx")


def test_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export-model", "nano", "-o", str(folder)]) == 2
    assert "exists already" in capsys.readouterr().err
    (tmp_path / "own.txt").write_text("mine")
    assert main(["export-model", "nano", "-o", str(tmp_path), "--overwrite"]) == 2
    assert "exists and is no exported model; choose another folder" in capsys.readouterr().err
    assert main(["export-model", "nano", "-o", str(tmp_path / "new"), "--opset", "99"]) == 2
    assert "the opset is 99; it must be from 18 to 22" in capsys.readouterr().err


def test_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each input size is exported once, when it is first asked for; a damaged manifest is written anew."""
    written: list[int] = []

    def write(networks: Sequence[SAM2], path: Path, **about: Any) -> None:
        size = networks[0].config.image_size
        written.append(size)
        path.mkdir(exist_ok=True)
        manifest = Manifest(networks[0].config, about["fingerprint"], about["image_only"], 20, {}, {size: {}})
        (path / FILE).write_text(manifest.text())

    monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setattr(opening, "write_graphs", write)
    for expected in ([704], [704, 512]):
        model = mw.load("nano", runtime="onnx")
        assert model.config == NANO
        assert model.device == torch.device("cpu")
        if len(expected) > 1:
            assert model.video_runtime.config == NANO.for_video
        assert written == expected
    fingerprint = mw.load("nano", device="cpu").runtime.fingerprint()
    assert model.video_runtime.fingerprint() == model.runtime.fingerprint() == fingerprint
    for path in tmp_path.rglob(FILE):
        path.write_text("{")
    mw.load("nano", runtime="openvino")
    assert written == [704, 512, 704]
    mw.load("nano", runtime="openvino", image_size=704)  # for videos as well
    assert written == [704, 512, 704, 704]


def test_a_frame_rate_that_only_an_engine_reaches(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch is said to be too slow; graphs in the cache are measured and taken, none are made."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a search exports nothing")

    monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setattr(opening, "write_graphs", refuse)
    budget = mw.Budget(0.5, size=(48, 64), seconds=600)
    model = Known("nano", NANO)
    slow = Candidate(model, "video", SIDE, "float32")
    Speeds(torch.device("cpu")).keep(slow, budget, 2.0, busy=False)

    def chosen() -> mw.MaskModel:
        return mw.load("nano", device="cpu", dtype="float32", image_size=SIDE, target_fps=budget)

    before = chosen()
    assert before.choice is not None
    assert (before.runtime_name, before.choice.reached) == ("eager", False)
    manifest = Manifest.read(folder)
    shutil.copytree(folder, opening.cached_folder(manifest.config, manifest.fingerprint, image_only=False))
    found = chosen()
    assert found.choice is not None
    assert (found.runtime_name, found.choice.reached) == ("openvino", True)
    assert found.choice.reason.startswith(f"nano at {SIDE} px in float32 on openvino: ")
    assert f"passed over: nano at {SIDE} px in float32 (0.5/s)" in found.choice.reason
    assert len(found.track([*small_clip(2)], {1: mw.Box(4, 10, 24, 30)}).__next__()) == 1
    speeds = json.loads((tmp_path / "speeds.json").read_text())["speeds"]
    assert [one["what"].partition(",")[0] for one in speeds.values()] == [
        slow.title,
        found.choice.candidate.title,
    ]
    again = chosen().choice
    assert again is not None
    assert (again.candidate, again.per_second) == (found.choice.candidate, found.choice.per_second)
