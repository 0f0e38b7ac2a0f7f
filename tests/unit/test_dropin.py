from __future__ import annotations

import inspect
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import maskwright.sam2
from maskwright.config import PRESETS
from maskwright.errors import (
    CheckpointError,
    ImageError,
    InputError,
    NotAvailableError,
    PromptError,
    StateError,
    UnknownModelError,
)
from maskwright.mask_model import MaskModel
from maskwright.runtime.fake import Fake
from maskwright.sam2 import build_sam
from maskwright.sam2.base import SAM2Base
from maskwright.sam2.build_sam import build_sam2, build_sam2_hf
from maskwright.sam2.configs import preset, settings
from maskwright.sam2.sam2_image_predictor import SAM2ImagePredictor
from maskwright.sam2.sam2_video_predictor import SAM2VideoPredictor
from maskwright.types import Box, Points

TINY = "configs/sam2.1/sam2.1_hiera_t.yaml"
RULE = "++model.sam_mask_decoder_extra_args.dynamic_multimask"
SMALL_INPUT = ["++model.image_size=64"]


@pytest.fixture(scope="module")
def model() -> SAM2Base:
    """The real tiny network with random weights, at an input size that makes it quick."""
    torch.manual_seed(0)
    return build_sam2(TINY, device="cpu", hydra_overrides_extra=SMALL_INPUT)


@pytest.fixture(scope="module")
def checkpoint(model: SAM2Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An official ``.pt`` file."""
    path = tmp_path_factory.mktemp("official") / "sam2.1_hiera_tiny.pt"
    torch.save({"model": model.state_dict()}, path)
    return path


@pytest.fixture
def predictor(model: SAM2Base, picture: np.ndarray) -> SAM2ImagePredictor:
    predictor = SAM2ImagePredictor(model)
    predictor.set_image(picture)
    return predictor


@pytest.fixture
def drawn(picture: np.ndarray) -> SAM2ImagePredictor:
    """A predictor on the fake runtime, whose masks are discs and boxes."""
    predictor = SAM2ImagePredictor(MaskModel(Fake()))
    predictor.set_image(picture)
    return predictor


def parameters(function: Any) -> list[tuple[str, Any]]:
    return [(name, parameter.default) for name, parameter in inspect.signature(function).parameters.items()]


class TestSignatures:
    """Names, order and defaults of the official package."""

    def test_build_sam2(self) -> None:
        names = [
            "config_file",
            "ckpt_path",
            "device",
            "mode",
            "hydra_overrides_extra",
            "apply_postprocessing",
        ]
        given = parameters(build_sam2)
        assert [name for name, _ in given] == [*names, "kwargs"]
        assert [default for _, default in given[1:6]] == [None, "cuda", "eval", (), True]
        assert [name for name, _ in parameters(build_sam2_hf)] == ["model_id", "kwargs"]

    def test_predictor(self) -> None:
        assert parameters(SAM2ImagePredictor)[1:4] == [
            ("mask_threshold", 0.0),
            ("max_hole_area", 0.0),
            ("max_sprinkle_area", 0.0),
        ]
        rest = [("multimask_output", True), ("return_logits", False), ("normalize_coords", True)]
        prompts = ["point_coords", "point_labels", "box", "mask_input"]
        assert parameters(SAM2ImagePredictor.predict)[1:] == [(name, None) for name in prompts] + rest
        batch = [(f"{name}_batch", None) for name in prompts]
        assert parameters(SAM2ImagePredictor.predict_batch)[1:] == batch + rest
        assert parameters(SAM2ImagePredictor.set_image_batch)[1][0] == "image_list"


class TestConfigs:
    @pytest.mark.parametrize(
        ("config_file", "name"),
        [
            ("sam2_hiera_t.yaml", "sam2-tiny"),
            ("sam2_hiera_b+.yaml", "sam2-base+"),
            ("configs/sam2/sam2_hiera_s.yaml", "sam2-small"),
            ("configs/sam2.1/sam2.1_hiera_b+.yaml", "sam2.1-base+"),
            ("configs/sam2.1/sam2.1_hiera_l", "sam2.1-large"),
            ("/home/me/segment-anything-2/sam2/configs/sam2.1/sam2.1_hiera_t.yaml", "sam2.1-tiny"),
            ("C:\\sam2\\configs\\sam2_hiera_l.yaml", "sam2-large"),
        ],
    )
    def test_names_select_a_preset(self, config_file: str, name: str) -> None:
        assert preset(config_file) == PRESETS[name]

    def test_unknown_names(self) -> None:
        with pytest.raises(UnknownModelError, match=r"no configuration is called 'sam3\.yaml'"):
            preset("sam3.yaml")

    def test_the_input_size(self) -> None:
        for spelling in ("++model.image_size=512", "model.image_size=512", "+model.image_size = 512"):
            assert settings(TINY, [spelling], apply_postprocessing=True).config.image_size == 512

    def test_the_stability_rule(self) -> None:
        overrides = [
            f"{RULE}_via_stability=true",
            f"{RULE}_stability_delta=0.1",
            f"{RULE}_stability_thresh=0.9",
        ]
        chosen = settings(TINY, overrides, apply_postprocessing=False)
        assert chosen.dynamic_multimask
        assert (chosen.config.stability_delta, chosen.config.stability_threshold) == (0.1, 0.9)
        assert not settings(TINY, [], apply_postprocessing=False).dynamic_multimask

    def test_post_processing_has_the_last_word(self, caplog: pytest.LogCaptureFixture) -> None:
        """As in the official function, which appends its own overrides to the caller's."""
        overrides = [f"{RULE}_via_stability=false", f"{RULE}_stability_thresh=0.5"]
        chosen = settings(TINY, overrides, apply_postprocessing=True)
        assert (chosen.dynamic_multimask, chosen.config.stability_threshold) == (True, 0.98)
        assert "pass False to override it" in caplog.text

    @pytest.mark.parametrize(
        "override", ["++model.num_maskmem=3", "++model.compile_image_encoder=True", "x=1"]
    )
    def test_other_overrides(self, override: str) -> None:
        with pytest.raises(NotAvailableError, match="leave it out"):
            settings(TINY, [override], apply_postprocessing=True)

    @pytest.mark.parametrize(
        "override", ["++model.image_size", "++model.image_size=big", f"{RULE}_via_stability=2", ""]
    )
    def test_malformed_overrides(self, override: str) -> None:
        with pytest.raises(InputError, match="override"):
            settings(TINY, [override], apply_postprocessing=True)

    def test_impossible_input_sizes(self) -> None:
        with pytest.raises(InputError, match="multiple of 32"):
            settings(TINY, ["++model.image_size=100"], apply_postprocessing=True)


class TestModel:
    def test_it_is_a_module_with_the_official_attributes(self, model: SAM2Base) -> None:
        assert isinstance(model, nn.Module)
        assert (model.image_size, model.device, model.training) == (64, torch.device("cpu"), False)
        assert sum(p.numel() for p in model.parameters()) == 38_962_498

    def test_the_state_has_official_names(self, model: SAM2Base) -> None:
        state = model.state_dict()
        assert "image_encoder.trunk.patch_embed.proj.weight" in state
        assert "sam_prompt_encoder.point_embeddings.3.weight" in state
        assert not any(name.startswith("network") for name in state)
        wrapped = nn.ModuleDict({"sam": model}).state_dict()
        assert {name.removeprefix("sam.") for name in wrapped} == set(state)

    def test_states_are_loaded(self, model: SAM2Base) -> None:
        other = build_sam2(TINY, device="cpu", hydra_overrides_extra=SMALL_INPUT)
        result = other.load_state_dict(model.state_dict())
        assert (result.missing_keys, result.unexpected_keys) == ([], [])
        for a, b in zip(other.parameters(), model.parameters(), strict=True):
            assert torch.equal(a, b)

    def test_wrong_states_are_named_officially(self, model: SAM2Base) -> None:
        state = dict(model.state_dict())
        del state["no_mem_embed"]
        state["foreign"] = torch.zeros(1)
        with pytest.raises(CheckpointError, match="no_mem_embed missing, foreign unexpected"):
            model.load_state_dict(state)
        result = model.load_state_dict(state, strict=False)
        assert (result.missing_keys, result.unexpected_keys) == (["no_mem_embed"], ["foreign"])

    def test_checkpoints_are_read(self, model: SAM2Base, checkpoint: Path) -> None:
        read = build_sam2(TINY, str(checkpoint), "cpu", "train", SMALL_INPUT)
        assert read.training
        assert torch.equal(read.state_dict()["no_mem_embed"], model.state_dict()["no_mem_embed"])

    def test_a_checkpoint_of_another_network(self, checkpoint: Path) -> None:
        with pytest.raises(CheckpointError, match="does not fit sam2-tiny"):
            build_sam2("sam2_hiera_t.yaml", checkpoint, "cpu")

    def test_weights_without_a_file_are_random(self, model: SAM2Base) -> None:
        other = build_sam2(TINY, None, "cpu", hydra_overrides_extra=SMALL_INPUT)
        assert not torch.equal(other.state_dict()["no_mem_embed"], model.state_dict()["no_mem_embed"])

    def test_hugging_face_names(
        self, monkeypatch: pytest.MonkeyPatch, checkpoint: Path, picture: np.ndarray
    ) -> None:
        asked: list[str] = []
        monkeypatch.setattr(build_sam.fetch, "locate", lambda name: asked.append(name) or checkpoint)
        predictor = SAM2ImagePredictor.from_pretrained(
            "facebook/sam2.1-hiera-tiny", device="cpu", mask_threshold=0.5, hydra_overrides_extra=SMALL_INPUT
        )
        assert asked == ["sam2.1-tiny"]
        assert predictor.mask_threshold == 0.5
        with pytest.raises(UnknownModelError):
            build_sam2_hf("facebook/sam2.1-hiera-huge")

    def test_cuda_is_optional(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        with caplog.at_level(logging.WARNING):
            assert build_sam2(TINY, hydra_overrides_extra=SMALL_INPUT).device == torch.device("cpu")
        assert "no CUDA here: running on cpu instead of cuda" in caplog.text
        with pytest.raises(InputError, match="not available"):
            build_sam2(TINY, device="mps")


class TestPredict:
    @pytest.mark.parametrize(
        ("prompt", "leading"),
        [
            ({"point_coords": np.array([[36, 44]]), "point_labels": np.array([1])}, ()),
            ({"point_coords": np.ones((1, 2, 2)), "point_labels": np.ones((1, 2))}, ()),
            ({"point_coords": np.ones((5, 2, 2)), "point_labels": np.ones((5, 2))}, (5,)),
            ({"box": np.array([1, 2, 30, 40])}, ()),
            ({"box": np.array([[1, 2, 30, 40]])}, ()),
            ({"box": np.array([[1, 2, 30, 40], [5, 6, 70, 80]])}, (2,)),
            ({"mask_input": np.zeros((1, 16, 16))}, ()),
            ({"box": np.ones((2, 4)), "mask_input": np.zeros((1, 16, 16))}, (2,)),
            ({"box": np.ones((2, 4)), "mask_input": np.zeros((2, 1, 16, 16))}, (2,)),
            (
                {"box": np.ones((2, 4)), "point_coords": np.ones((2, 3, 2)), "point_labels": np.ones((2, 3))},
                (2,),
            ),
            ({}, ()),
        ],
    )
    def test_official_shapes(
        self, predictor: SAM2ImagePredictor, prompt: dict[str, np.ndarray], leading: tuple[int, ...]
    ) -> None:
        for multimask, count in ((True, 3), (False, 1)):
            masks, scores, low = predictor.predict(multimask_output=multimask, **prompt)
            assert masks.shape == (*leading, count, 96, 128)
            assert scores.shape == (*leading, count)
            assert low.shape == (*leading, count, 16, 16)
            assert masks.dtype == scores.dtype == low.dtype == np.float32
            assert set(np.unique(masks)) <= {0.0, 1.0}

    def test_it_agrees_with_the_native_api(
        self, predictor: SAM2ImagePredictor, model: SAM2Base, picture: np.ndarray
    ) -> None:
        masks, scores, low = predictor.predict(
            np.array([[90, 50]]), np.array([0]), box=np.array([76, 30, 112, 80])
        )
        native = (
            model.native()
            .embed(picture)
            .segment(Box(76, 30, 112, 80) + Points((90, 50), labels=0), candidates=True)
        )
        np.testing.assert_array_equal(masks.astype(bool), native.bitmaps[0])
        np.testing.assert_array_equal(scores, native.scores[0])
        np.testing.assert_array_equal(low, native.logits[0])

    def test_coordinates_may_be_relative(self, predictor: SAM2ImagePredictor) -> None:
        labels = np.array([1])
        absolute = predictor.predict(np.array([[32, 48]]), labels, box=np.array([0, 24, 64, 72]))
        relative = predictor.predict(
            np.array([[0.25, 0.5]]), labels, box=np.array([0, 0.25, 0.5, 0.75]), normalize_coords=False
        )
        for a, b in zip(absolute, relative, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_return_logits(self, predictor: SAM2ImagePredictor) -> None:
        box = np.array([76, 30, 112, 80])
        logits, _, _ = predictor.predict(box=box, return_logits=True)
        predictor.mask_threshold = 0.1
        masks, _, _ = predictor.predict(box=box)
        assert len(np.unique(logits)) > 100
        np.testing.assert_array_equal(masks, logits > 0.1)

    def test_the_callers_autocast_applies(self, predictor: SAM2ImagePredictor, picture: np.ndarray) -> None:
        """As in the official notebooks, which wrap everything in one region of bfloat16."""
        box = np.array([76, 30, 112, 80])
        exact = predictor.predict(box=box)[2]
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            predictor.set_image(picture)
            cheap = predictor.predict(box=box)[2]
        assert cheap.dtype == np.float32
        assert 0 < np.abs(cheap - exact).max() < 0.1 * np.abs(exact).max()

    def test_dynamic_multimask(self, model: SAM2Base, picture: np.ndarray) -> None:
        """Without a stable single mask the best of three answers, unless post-processing is off."""
        box = np.array([76, 30, 112, 80])

        def single(*overrides: str, apply_postprocessing: bool) -> np.ndarray:
            extra = [*SMALL_INPUT, *overrides]
            other = build_sam2(TINY, None, "cpu", "eval", extra, apply_postprocessing)
            other.load_state_dict(model.state_dict())
            predictor = SAM2ImagePredictor(other)
            predictor.set_image(picture)
            return predictor.predict(box=box, multimask_output=False)[2]

        predictor = SAM2ImagePredictor(model)
        predictor.set_image(picture)
        _, scores, low = predictor.predict(box=box)
        best = low[scores.argmax()]
        np.testing.assert_array_equal(single(apply_postprocessing=True)[0], best)
        off = single(apply_postprocessing=False)[0]
        assert not np.array_equal(off, best)
        never = single(f"{RULE}_via_stability=true", f"{RULE}_stability_thresh=0", apply_postprocessing=False)
        np.testing.assert_array_equal(never[0], off)

    def test_holes_and_specks(self, model: SAM2Base, picture: np.ndarray) -> None:
        def covered(**options: float) -> float:
            predictor = SAM2ImagePredictor(model, **options)
            predictor.set_image(picture)
            return float(predictor.predict(box=np.array([76, 30, 112, 80]))[0].mean())

        assert 0 < covered() < 1
        assert covered(max_hole_area=256) == 1
        assert covered(max_sprinkle_area=256) == 0

    def test_points_outside_the_picture_are_taken(self, drawn: SAM2ImagePredictor) -> None:
        masks, _, _ = drawn.predict(np.array([[-500, 700]]), np.array([1]))
        assert masks.sum() == 0

    def test_lists_and_tensors_are_taken(self, drawn: SAM2ImagePredictor) -> None:
        wanted = drawn.predict(np.array([[36, 44]]), np.array([1]))[0]
        np.testing.assert_array_equal(drawn.predict([[36, 44]], [1])[0], wanted)
        np.testing.assert_array_equal(drawn.predict(torch.tensor([[36, 44]]), torch.tensor([1]))[0], wanted)

    @pytest.mark.parametrize(
        ("prompt", "message"),
        [
            ({"point_coords": [[1, 2]]}, "point_labels"),
            ({"point_coords": [[1, 2]], "point_labels": [1, 1]}, "expected"),
            ({"point_coords": [1, 2], "point_labels": [1]}, "expected"),
            ({"point_coords": [[1, 2]], "point_labels": [7]}, "must be 1"),
            ({"point_coords": [[1, np.nan]], "point_labels": [1]}, "NaN"),
            ({"box": [1, 2, 3]}, "expected"),
            ({"box": [1, 2, 3, np.inf]}, "infinity"),
            ({"box": "here"}, "numbers"),
            ({"mask_input": np.zeros((1, 8, 8))}, "expected"),
            ({"mask_input": np.zeros((32, 32))}, "expected"),
            ({"box": np.ones((3, 4)), "mask_input": np.zeros((2, 1, 32, 32))}, "2 masks for 3 objects"),
            ({"box": np.ones((3, 4)), "point_coords": [[1, 2]], "point_labels": [1]}, "3; give as many"),
        ],
    )
    def test_malformed_prompts(self, drawn: SAM2ImagePredictor, prompt: dict[str, Any], message: str) -> None:
        with pytest.raises(PromptError, match=message) as caught:
            drawn.predict(**prompt)
        assert "\n" not in str(caught.value)


class TestPictures:
    def test_features_and_their_official_names(self, predictor: SAM2ImagePredictor) -> None:
        embedding = predictor.get_image_embedding()
        assert embedding.shape == (1, 256, 4, 4)
        features = predictor._features
        assert features is not None
        assert torch.equal(features["image_embed"], embedding)
        assert [maps.shape for maps in features["high_res_feats"]] == [(1, 32, 16, 16), (1, 64, 8, 8)]
        assert (predictor._orig_hw, predictor._is_image_set, predictor._is_batch) == (
            [(96, 128)],
            True,
            False,
        )

    def test_pil_images_are_taken_without_exif(self, drawn: SAM2ImagePredictor, picture: np.ndarray) -> None:
        image = Image.fromarray(picture)
        image.getexif()[274] = 6
        drawn.set_image(image)
        assert drawn._orig_hw == [(96, 128)]

    @pytest.mark.parametrize("image", ["photo.jpg", None, b"", np.zeros((0, 5, 3), np.uint8)])
    def test_other_pictures(self, drawn: SAM2ImagePredictor, image: Any) -> None:
        with pytest.raises(ImageError):
            drawn.set_image(image)
        assert not drawn._is_image_set

    def test_a_picture_has_to_be_set(self, model: SAM2Base) -> None:
        predictor = SAM2ImagePredictor(model)
        for call in (predictor.predict, predictor.get_image_embedding, predictor.predict_batch):
            with pytest.raises(StateError, match="call set_image"):
                call()
        assert issubclass(StateError, RuntimeError)

    def test_reset(self, predictor: SAM2ImagePredictor) -> None:
        predictor.reset_predictor()
        assert (predictor._features, predictor._orig_hw, predictor._is_image_set) == (None, None, False)
        with pytest.raises(StateError):
            predictor.predict(box=np.array([1, 2, 3, 4]))

    def test_attributes(self, model: SAM2Base) -> None:
        predictor = SAM2ImagePredictor(model, 0.25, 8, 4, anything="else")
        assert predictor.model is model
        assert predictor.device == torch.device("cpu")
        assert predictor.mask_threshold == 0.25
        assert (predictor.max_hole_area, predictor.max_sprinkle_area) == (8, 4)


class TestBatch:
    @pytest.fixture
    def pictures(self, picture: np.ndarray) -> list[np.ndarray]:
        return [picture, picture[:50], picture[:, :70]]

    def test_each_picture_answers_its_own_prompts(
        self, predictor: SAM2ImagePredictor, pictures: list[np.ndarray]
    ) -> None:
        boxes = [np.array([1, 2, 30, 40]), np.array([[1, 2, 30, 40], [5, 6, 70, 45]]), None]
        points = [None, np.ones((2, 1, 2)), np.array([[5, 5], [50, 60]])]
        labels = [None, np.ones((2, 1)), np.array([1, 0])]
        predictor.set_image_batch(pictures)
        assert predictor.get_image_embedding().shape == (3, 256, 4, 4)
        results = predictor.predict_batch(points, labels, boxes, multimask_output=False, return_logits=True)
        assert all(isinstance(column, list) and len(column) == 3 for column in results)
        assert [masks.shape for masks in results[0]] == [(1, 96, 128), (2, 1, 50, 128), (1, 96, 70)]
        for row, picture in enumerate(pictures):
            predictor.set_image(picture)
            alone = predictor.predict(
                points[row], labels[row], boxes[row], multimask_output=False, return_logits=True
            )
            for column, wanted in zip(results, alone, strict=True):
                np.testing.assert_allclose(column[row], wanted, atol=1e-4)

    def test_predict_after_a_batch_means_its_last_picture(
        self, drawn: SAM2ImagePredictor, pictures: list[np.ndarray]
    ) -> None:
        drawn.set_image_batch(pictures)
        assert drawn.predict(box=np.array([1, 2, 30, 40]))[0].shape == (3, 96, 70)

    def test_mistakes(self, drawn: SAM2ImagePredictor, pictures: list[np.ndarray]) -> None:
        with pytest.raises(ImageError, match="list of arrays"):
            drawn.set_image_batch(tuple(pictures))  # type: ignore[arg-type]
        drawn.set_image_batch(pictures)
        with pytest.raises(PromptError, match="1 entries for 3 pictures"):
            drawn.predict_batch(box_batch=[np.array([1, 2, 3, 4])])


SCRIPT = """
import sys
import numpy as np
import sam2
from sam2.build_sam import build_sam2
from sam2.sam2_image_predictor import SAM2ImagePredictor
import beside

assert __name__ == "__main__"
try:
    import sam2.modeling.sam2_base
except ImportError as error:
    print(error)
model = build_sam2("sam2.1_hiera_t.yaml", device="cpu", hydra_overrides_extra=["++model.image_size=64"])
predictor = SAM2ImagePredictor(model)
predictor.set_image(np.zeros((20, 30, 3), np.uint8))
masks, scores, logits = predictor.predict(np.array([[5, 5]]), np.array([1]))
print(sam2.__name__, masks.shape, sys.argv[1:], beside.VALUE)
"""


class TestInstall:
    @pytest.fixture(autouse=True)
    def fresh_imports(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        for name in ("sam2", *(f"sam2.{part}" for part in maskwright.sam2.MODULES)):
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
        yield
        for name in ("sam2", *(f"sam2.{part}" for part in maskwright.sam2.MODULES)):
            sys.modules.pop(name, None)

    def test_official_imports_find_this_package(self) -> None:
        maskwright.sam2.install()
        maskwright.sam2.install()
        import sam2.build_sam
        from sam2.sam2_image_predictor import SAM2ImagePredictor as Registered
        from sam2.sam2_video_predictor import SAM2VideoPredictor as RegisteredForVideo

        assert Registered is SAM2ImagePredictor
        assert RegisteredForVideo is SAM2VideoPredictor
        assert sam2.build_sam is build_sam
        assert sum(type(finder).__name__ == "_Guard" for finder in sys.meta_path) == 1
        with pytest.raises(ModuleNotFoundError, match=r"sam2\.prompts is not yet available in maskwright"):
            __import__("sam2.prompts")

    def test_another_sam2_is_not_replaced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        other = ModuleType("sam2")
        monkeypatch.setitem(sys.modules, "sam2", other)
        with pytest.raises(StateError, match="another sam2 package"):
            maskwright.sam2.install()
        assert sys.modules["sam2"] is other


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "maskwright.sam2", *arguments]
    source = Path(maskwright.sam2.__file__).parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(source)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_scripts_run_unchanged(tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "script.py").write_text(SCRIPT)
    (scripts / "beside.py").write_text("VALUE = 'a module beside the script'\n")
    result = run("scripts/script.py", "--size", "3", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "sam2.modeling is not yet available in maskwright, which offers sam2.automatic_mask_generator, "
        "sam2.build_sam, sam2.sam2_image_predictor, sam2.sam2_video_predictor",
        "maskwright.sam2 (3, 20, 30) ['--size', '3'] a module beside the script",
    ]


def test_modules_run_too(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import sys, sam2; print(sam2.__name__, __name__, sys.argv[1:])")
    result = run("-m", "mine", "-x", cwd=tmp_path)
    assert result.stdout.split("\n")[0] == "maskwright.sam2 __main__ ['-x']", result.stderr


def test_a_script_that_is_missing(tmp_path: Path) -> None:
    result = run("absent.py", cwd=tmp_path)
    assert result.returncode == 2
    assert "no script at absent.py" in result.stderr
