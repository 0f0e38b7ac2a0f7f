"""Every verb as a graph, on both engines, beside the plain runtime, for any number of objects and slots."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from maskwright.errors import CheckpointError, InputError, OutputError
from maskwright.model.candidates import Chosen
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.memory_bank import MemoryBank, empty_bank
from maskwright.model.prompt_encoder import NO_POINT, PromptTensors
from maskwright.model.sam2 import Slots
from maskwright.runtime.eager import Eager
from maskwright.runtime.exported.export import check_exporter, check_folder, write_graphs
from maskwright.runtime.exported.manifest import Manifest
from maskwright.runtime.exported.opening import executor_of, open_folder
from maskwright.runtime.exported.runtime import Exported
from maskwright.runtime.protocol import Moment, Runtime
from small import SMALL, lively, small_runtime

pytest.importorskip("openvino")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SIDE = SMALL.image_size
Make = Callable[..., Tensor]


@pytest.fixture(scope="module")
def eager() -> Eager:
    return small_runtime()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, eager: Eager) -> Path:
    path = tmp_path_factory.mktemp("exported") / "small"
    told: list[str] = []
    write_graphs([lively()], path, fingerprint=eager.fingerprint(), image_only=False, told=told.append)
    assert told[0] == "1 of 6: encode_image at 64 px"
    assert len(told) == 6
    return path


def opened(folder: Path, runtime: str, dtype: str | None = None) -> Exported:
    manifest, make = open_folder(folder, executor_of(runtime, "cpu", dtype))
    return make(manifest.config)


@pytest.fixture(params=["openvino", "onnx"], scope="module")
def exported(request: pytest.FixtureRequest, folder: Path) -> Exported:
    return opened(folder, request.param)


@pytest.fixture
def randn() -> Make:
    generator = torch.Generator().manual_seed(3)
    return lambda *shape: torch.randn(*shape, generator=generator)


def assert_same(found: Any, expected: Any, tolerance: float = 2e-5) -> None:
    """Equal but for rounding, as a share of the largest value."""
    for a, b in zip(found, expected, strict=True):
        if b is None:
            assert a is None
            continue
        assert a.shape == b.shape
        a, b = a.float(), b.float()
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(1.0, float(b.abs().max())))


def features_of(eager: Eager, randn: Make, pictures: int = 1) -> ImageFeatures:
    return eager.encode_image(randn(pictures, 3, SIDE, SIDE))


def prompts_of(randn: Make, pictures: int, objects: int, points: int, masks: str) -> PromptTensors:
    labels = torch.arange(pictures * objects * points).view(pictures, objects, points) % 6 - 2
    labels[..., 0] = 1
    mask = None if masks == "none" else 4 * randn(pictures, objects, SIDE // 4, SIDE // 4)
    given = torch.arange(pictures * objects).view(pictures, objects) % 2 == 0 if masks == "some" else None
    return PromptTensors(randn(pictures, objects, points, 2).abs() * SIDE / 3, labels, mask, given)


@pytest.mark.parametrize("pictures", [3, 1])
def test_encode_image(eager: Eager, exported: Exported, randn: Make, pictures: int) -> None:
    pixels = randn(pictures, 3, SIDE, SIDE)
    expected, found = eager.encode_image(pixels), exported.encode_image(pixels)
    assert_same(found.levels, expected.levels)
    assert_same(exported.without_memory(found).levels, eager.without_memory(expected).levels)


@pytest.mark.parametrize("masks", ["none", "all", "some"])
@pytest.mark.parametrize(("pictures", "objects", "points"), [(1, 5, 2), (1, 1, 8), (3, 2, 1)])
def test_decode(
    eager: Eager, exported: Exported, randn: Make, pictures: int, objects: int, points: int, masks: str
) -> None:
    features = eager.without_memory(features_of(eager, randn, pictures))
    prompts = prompts_of(randn, pictures, objects, points, masks)
    expected, found = eager.decode(features, prompts), exported.decode(features, prompts)
    assert_same(found, expected)
    assert ((found.logits_BPMHW > 0) == (expected.logits_BPMHW > 0)).float().mean() > 0.9999


@pytest.mark.parametrize("presence", [-3.0, 3.0])
def test_recalled_presence_takes_the_place_of_the_decoders(
    eager: Eager, exported: Exported, randn: Make, presence: float
) -> None:
    features = features_of(eager, randn)._replace(presence_B=torch.tensor([presence]))
    prompts = prompts_of(randn, 1, 2, 2, "none")
    found = exported.decode(features, prompts)
    assert_same(found, eager.decode(features, prompts))
    assert found.object_score_BP.tolist() == [[presence] * 2]


@pytest.mark.parametrize("objects", [3, 1])
def test_adopt(eager: Eager, exported: Exported, randn: Make, objects: int) -> None:
    features = features_of(eager, randn)
    masks = (randn(objects, SIDE, SIDE) > 0).float()
    masks[-1] = 0
    assert_same(exported.adopt(features, masks), eager.adopt(features, masks))


def chosen_of(randn: Make, objects: int) -> Chosen:
    return Chosen(
        3 * randn(objects, SIDE // 4, SIDE // 4),
        torch.ones(objects),
        randn(objects, SMALL.width),
        randn(objects),
    )


def remembered(
    runtime: Runtime, features: ImageFeatures, randn: Make, objects: int, frames: int
) -> MemoryBank:
    """A bank with one row and one slot more than are used; the first frame is prompted."""
    bank = empty_bank(SMALL, objects + 1, frames + 1, frames + 2, "cpu", torch.float32)
    for number in range(frames):
        at = Slots(torch.arange(objects), *(torch.full((objects,), number) for _ in range(2)))
        flags = torch.full((objects,), number == 0)
        binary = torch.arange(objects) % 2 == number % 2
        frame = torch.full((objects,), 10 + number)
        runtime.remember(features, chosen_of(randn, objects), bank, at, frame, flags, binary)
    return bank


@pytest.mark.parametrize(("objects", "frames"), [(3, 2), (1, 7), (2, 1)])
@pytest.mark.parametrize("spare", [0, 1])
def test_remember_and_recall(
    eager: Eager, exported: Exported, randn: Make, objects: int, frames: int, spare: int
) -> None:
    """``spare`` slots are empty; where there are none, the plain runtime does without a mask."""
    features = features_of(eager, randn)
    state = torch.Generator().manual_seed(5)
    banks = [
        remembered(
            runtime,
            features,
            lambda *shape: torch.randn(*shape, generator=state.manual_seed(7)),
            objects,
            frames,
        )
        for runtime in (exported, eager)
    ]
    assert_same(banks[0], banks[1])
    bank = banks[1].prefix(objects, frames + spare, frames + 2 * spare)
    now = Moment(torch.full((objects,), 10 + frames), 1, 15)
    found = exported.recall(features, bank, now, masked=True)
    expected = eager.recall(features, bank, now, masked=bool(spare))
    assert_same(found, expected)
    nothing = PromptTensors(torch.zeros(objects, 1, 2, 2), torch.full((objects, 1, 2), NO_POINT))
    assert_same(exported.decode(found, nothing), eager.decode(expected, nothing), 1e-4)


def test_time_that_runs_backward(eager: Eager, exported: Exported, randn: Make) -> None:
    features = features_of(eager, randn)
    bank = remembered(eager, features, randn, 2, 3)
    now = Moment(torch.tensor([9, 8]), -1, 15)
    assert_same(
        exported.recall(features, bank.prefix(2, 3, 3), now, masked=True),
        eager.recall(features, bank.prefix(2, 3, 3), now, masked=True),
    )


def test_bfloat16_on_openvino(eager: Eager, folder: Path, randn: Make) -> None:
    half = opened(folder, "openvino", "bfloat16")
    pixels = randn(1, 3, SIDE, SIDE)
    expected, found = eager.encode_image(pixels), half.encode_image(pixels)
    assert half.dtype is found.low_BCHW.dtype is torch.bfloat16
    assert_same(found.levels, expected.levels, 0.05)
    prompts = prompts_of(randn, 1, 2, 4, "some")
    logits = half.decode(half.without_memory(found), prompts).logits_BPMHW
    exact = eager.decode(eager.without_memory(expected), prompts).logits_BPMHW
    assert logits.dtype is torch.float32
    assert ((logits > 0) == (exact > 0)).float().mean() > 0.97


def test_threads_share_a_runtime(exported: Exported, randn: Make) -> None:
    pictures = [randn(1, 3, SIDE, SIDE) for _ in range(4)]
    alone = [exported.encode_image(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(exported.encode_image, pictures, timeout=60))
    for a, b in zip(together, alone, strict=True):
        assert_same(a.levels, b.levels)


def test_the_folder_says_what_it_is(folder: Path, eager: Eager, exported: Exported) -> None:
    manifest = Manifest.read(folder)
    assert (manifest.config, manifest.fingerprint) == (SMALL, eager.fingerprint())
    assert exported.fingerprint() == eager.fingerprint()
    graphs = manifest.graphs[SIDE]
    assert graphs["encode_image"].inputs == {"pixels": ["B", 3, SIDE, SIDE]}
    assert graphs["decode"].outputs["logits"] == [1, "P", 4, SIDE // 4, SIDE // 4]
    assert graphs["recall"].inputs["memories"] == [1, "S", (SIDE // 16) ** 2, SMALL.memory_width]
    for graph in graphs.values():
        assert b".py" not in (folder / graph.file).read_bytes()  # nothing of the machine that wrote it


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_a_damaged_graph_is_refused(copy: Path, randn: Make) -> None:
    path = copy / "64" / "encode_image.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    runtime = opened(copy, "onnx")
    with pytest.raises(CheckpointError, match=r"encode_image\.onnx is damaged or was replaced: export"):
        runtime.encode_image(randn(1, 3, SIDE, SIDE))
    path.unlink()
    with pytest.raises(CheckpointError, match=r"cannot read .*encode_image\.onnx"):
        runtime.encode_image(randn(1, 3, SIDE, SIDE))


@pytest.mark.parametrize("runtime", ["openvino", "onnx"])
def test_what_an_engine_does_not_understand(copy: Path, runtime: str) -> None:
    path = copy / "64" / "decode.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(CheckpointError, match=r"cannot run .*decode\.onnx"):
        executor_of(runtime, None, None).open(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is no exported model: it has no manifest.json"),
        ("{", "is damaged, or of something else"),
        ('{"format": "other-3"}', "has the format 'other-3'"),
        ('{"format": "maskwright-graphs-1"}', "is damaged: export the model anew"),
    ],
)
def test_a_foreign_folder_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        Manifest.read(tmp_path)


def test_a_size_or_a_verb_that_is_not_there(copy: Path, eager: Eager, randn: Make) -> None:
    manifest, make = open_folder(copy, executor_of("onnx", None, None))
    with pytest.raises(CheckpointError, match="has graphs for image_size=64, not 128"):
        make(manifest.config.at(128))
    fields = json.loads((copy / "manifest.json").read_text())
    del fields["graphs"]["64"]["adopt"]
    (copy / "manifest.json").write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match="has no graph of adopt at image_size=64: .* for pictures only"):
        opened(copy, "onnx").adopt(features_of(eager, randn), torch.ones(1, SIDE, SIDE))


def test_what_is_in_the_way_stays(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        check_folder(copy, overwrite=False)
    check_folder(copy, overwrite=True)
    with pytest.raises(OutputError, match="exists and is no exported model"):
        check_folder(tmp_path, overwrite=True)


def test_a_failed_export_leaves_nothing(tmp_path: Path, eager: Eager) -> None:
    def stop(step: str) -> None:
        if step.startswith("1 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_graphs([lively()], tmp_path / "new", fingerprint="", image_only=True, told=stop)
    assert not list(tmp_path.iterdir())


def test_an_impossible_opset() -> None:
    with pytest.raises(InputError, match="the opset is 9; it must be from 18 to 22"):
        check_exporter(9)
