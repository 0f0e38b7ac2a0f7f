from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import maskwright.sam2.history as history_module
from clips import make_clip
from maskwright.config import PRESETS
from maskwright.errors import InputError, NotAvailableError, PromptError, SourceError, StateError
from maskwright.model.candidates import NO_OBJECT
from maskwright.sam2 import build_sam
from maskwright.sam2.build_sam import build_sam2_video_predictor, build_sam2_video_predictor_hf
from maskwright.sam2.configs import settings
from maskwright.sam2.history import History, Trace
from maskwright.sam2.sam2_video_predictor import SAM2VideoPredictor, SAM2VideoPredictorVOS
from small import SMALL, lively, small_clip

TINY = "configs/sam2.1/sam2.1_hiera_t.yaml"
SIZE = (48, 64)
NUM_FRAMES = 9
CLICK, ON = [[20, 20]], [1]
BOX = [30, 8, 60, 40]


@pytest.fixture(scope="module")
def clip() -> np.ndarray:
    return small_clip(NUM_FRAMES, SIZE)


def make(**options: Any) -> SAM2VideoPredictor:
    """A small network with the options that the official builder sets."""
    defaults = {"fill_hole_area": 8, "dynamic_multimask_via_stability": True}
    chosen = {**defaults, "binarize_mask_from_pts_for_mem_enc": True, **options}
    return SAM2VideoPredictor(lively(), **chosen).eval()


@pytest.fixture(scope="module")
def predictor() -> SAM2VideoPredictor:
    return make()


@pytest.fixture
def state(predictor: SAM2VideoPredictor, clip: np.ndarray) -> Any:
    return predictor.init_state(list(clip))  # type: ignore[arg-type]


def propagated(predictor: SAM2VideoPredictor, state: Any, *args: Any, **options: Any) -> dict[int, Tensor]:
    return {frame: logits for frame, _, logits in predictor.propagate_in_video(state, *args, **options)}


def click(
    predictor: SAM2VideoPredictor,
    state: Any,
    frame: int,
    number: Any,
    x: float = 20,
    y: float = 20,
    on: int = 1,
) -> Tensor:
    return predictor.add_new_points_or_box(state, frame, number, [[x, y]], [on])[2]


def assert_equal(a: dict[int, Tensor], b: dict[int, Tensor], within: float = 0.0) -> None:
    assert list(a) == list(b)
    for frame in a:
        torch.testing.assert_close(a[frame], b[frame], rtol=0, atol=within, msg=f"frame {frame}")


def parameters(function: Any) -> list[tuple[str, Any]]:
    """Names and defaults, without self."""
    given = inspect.signature(function).parameters.items()
    return [(name, one.default) for name, one in given if name != "self"]


EMPTY = inspect.Parameter.empty


class TestSignatures:
    """Names, order and defaults of the official package."""

    def test_builders(self) -> None:
        assert parameters(build_sam2_video_predictor) == [
            ("config_file", EMPTY),
            ("ckpt_path", None),
            ("device", "cuda"),
            ("mode", "eval"),
            ("hydra_overrides_extra", ()),
            ("apply_postprocessing", True),
            ("vos_optimized", False),
            ("kwargs", EMPTY),
        ]
        assert [name for name, _ in parameters(build_sam2_video_predictor_hf)] == ["model_id", "kwargs"]
        assert [name for name, _ in parameters(SAM2VideoPredictor.from_pretrained)] == ["model_id", "kwargs"]

    @pytest.mark.parametrize(
        ("method", "wanted"),
        [
            (
                "init_state",
                [
                    ("video_path", EMPTY),
                    ("offload_video_to_cpu", False),
                    ("offload_state_to_cpu", False),
                    ("async_loading_frames", False),
                ],
            ),
            (
                "add_new_points_or_box",
                [
                    ("inference_state", EMPTY),
                    ("frame_idx", EMPTY),
                    ("obj_id", EMPTY),
                    ("points", None),
                    ("labels", None),
                    ("clear_old_points", True),
                    ("normalize_coords", True),
                    ("box", None),
                ],
            ),
            ("add_new_points", [("args", EMPTY), ("kwargs", EMPTY)]),
            (
                "add_new_mask",
                [("inference_state", EMPTY), ("frame_idx", EMPTY), ("obj_id", EMPTY), ("mask", EMPTY)],
            ),
            ("propagate_in_video_preflight", [("inference_state", EMPTY)]),
            (
                "propagate_in_video",
                [
                    ("inference_state", EMPTY),
                    ("start_frame_idx", None),
                    ("max_frame_num_to_track", None),
                    ("reverse", False),
                ],
            ),
            (
                "clear_all_prompts_in_frame",
                [("inference_state", EMPTY), ("frame_idx", EMPTY), ("obj_id", EMPTY), ("need_output", True)],
            ),
            (
                "remove_object",
                [("inference_state", EMPTY), ("obj_id", EMPTY), ("strict", False), ("need_output", True)],
            ),
            ("reset_state", [("inference_state", EMPTY)]),
        ],
    )
    def test_methods(self, method: str, wanted: list[tuple[str, Any]]) -> None:
        assert parameters(getattr(SAM2VideoPredictor, method)) == wanted

    def test_options_of_the_class(self) -> None:
        names = [name for name, _ in parameters(SAM2VideoPredictor)]
        assert names[1:5] == [
            "fill_hole_area",
            "non_overlap_masks",
            "clear_non_cond_mem_around_input",
            "add_all_frames_to_correct_as_cond",
        ]


@pytest.fixture(scope="module")
def built() -> SAM2VideoPredictor:
    """The real tiny network, with random weights and at an input size that makes it quick."""
    overrides = ["++model.image_size=64", "++model.add_all_frames_to_correct_as_cond=true"]
    return build_sam2_video_predictor(TINY, device="cpu", hydra_overrides_extra=overrides)


class TestBuilding:
    def test_what_post_processing_sets(self, built: SAM2VideoPredictor) -> None:
        assert type(built) is SAM2VideoPredictor
        assert (built.fill_hole_area, built.binarize_mask_from_pts_for_mem_enc) == (8, True)
        assert built.dynamic_multimask_via_stability
        assert built.add_all_frames_to_correct_as_cond
        assert not built.non_overlap_masks
        assert (built.image_size, built.training, built.device) == (64, False, torch.device("cpu"))

    def test_the_state_has_official_names(self, built: SAM2VideoPredictor) -> None:
        names = set(built.state_dict())
        assert {"maskmem_tpos_enc", "no_obj_ptr", "memory_encoder.out_proj.weight"} <= names

    def test_it_tracks(self, built: SAM2VideoPredictor, clip: np.ndarray) -> None:
        state = built.init_state(list(clip[:3]))  # type: ignore[arg-type]
        click(built, state, 0, 1)
        assert [logits.shape for logits in propagated(built, state).values()] == [(1, 1, *SIZE)] * 3

    def test_without_post_processing(self) -> None:
        video = settings(TINY, [], apply_postprocessing=False).video
        assert (video.fill_hole_area, video.binarize_mask_from_pts_for_mem_enc) == (0, False)

    @pytest.mark.parametrize(
        ("override", "name", "value"),
        [
            ("++model.non_overlap_masks=true", "non_overlap_masks", True),
            ("++model.non_overlap_masks=False", "non_overlap_masks", False),
            ("++model.add_all_frames_to_correct_as_cond=true", "add_all_frames_to_correct_as_cond", True),
            ("++model.clear_non_cond_mem_around_input=true", "clear_non_cond_mem_around_input", True),
            ("++model.fill_hole_area=3", "fill_hole_area", 3),
            (
                "++model.binarize_mask_from_pts_for_mem_enc=true",
                "binarize_mask_from_pts_for_mem_enc",
                True,
            ),
        ],
    )
    def test_overrides(self, override: str, name: str, value: Any) -> None:
        assert getattr(settings(TINY, [override], apply_postprocessing=False).video, name) == value

    def test_post_processing_has_the_last_word(self) -> None:
        """As officially: there ``++model.fill_hole_area=0`` needs ``apply_postprocessing=False``."""
        overrides = ["++model.fill_hole_area=0", "++model.non_overlap_masks=true"]
        video = settings(TINY, overrides, apply_postprocessing=True).video
        assert (video.fill_hole_area, video.non_overlap_masks) == (8, True)

    @pytest.mark.parametrize(
        "override", ["++model.fill_hole_area=many", "++model.non_overlap_masks=1", "++model.fill_hole_area"]
    )
    def test_malformed_overrides(self, override: str) -> None:
        with pytest.raises(InputError, match="override"):
            settings(TINY, [override], apply_postprocessing=True)

    def test_other_overrides(self) -> None:
        with pytest.raises(NotAvailableError, match="leave it out"):
            settings(TINY, ["++model.compile_image_encoder=true"], apply_postprocessing=True)

    def test_vos_optimized_is_accepted(self, monkeypatch: pytest.MonkeyPatch, clip: np.ndarray) -> None:
        monkeypatch.setattr(build_sam, "SAM2", lambda config: lively())
        optimised = build_sam2_video_predictor(TINY, device="cpu", vos_optimized=True)
        assert type(optimised) is SAM2VideoPredictorVOS
        plain = build_sam2_video_predictor(TINY, device="cpu")
        tracks = []
        for one in (optimised, plain):
            state = one.init_state(list(clip))  # type: ignore[arg-type]
            click(one, state, 0, 1)
            tracks.append(propagated(one, state))
        assert_equal(*tracks)

    def test_hugging_face_names(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[Any] = []
        monkeypatch.setattr(build_sam.fetch, "locate", lambda name: f"{name}.pt")
        monkeypatch.setattr(
            build_sam, "build_sam2_video_predictor", lambda **given: asked.append(given) or "built"
        )
        assert SAM2VideoPredictor.from_pretrained("facebook/sam2-hiera-large", device="cpu") == "built"
        assert asked == [{"config_file": "sam2-large", "ckpt_path": "sam2-large.pt", "device": "cpu"}]
        assert "sam2-large" in PRESETS


class TestState:
    def test_documented_keys(self, state: Any, predictor: SAM2VideoPredictor) -> None:
        assert (state["num_frames"], state["video_height"], state["video_width"]) == (NUM_FRAMES, *SIZE)
        assert state["obj_ids"] == []
        assert state["device"] == torch.device("cpu")
        click(predictor, state, 0, "cat")
        click(predictor, state, 2, 7)
        assert state["obj_ids"] == ["cat", 7]
        assert "num_frames" in state
        assert {key: state[key] for key in state.keys()} == dict(state)  # noqa: SIM118 (part of the test)
        with pytest.raises(KeyError, match="images"):
            state["images"]

    def test_folders(self, predictor: SAM2VideoPredictor, clip: np.ndarray, tmp_path: Path) -> None:
        """JPEG files by their numbers: 10 comes after 9."""
        for number, frame in enumerate(clip):
            Image.fromarray(frame).save(tmp_path / f"{number + 7}.jpg")
        state = predictor.init_state(
            str(tmp_path), offload_video_to_cpu=True, offload_state_to_cpu=True, async_loading_frames=True
        )
        assert (state["num_frames"], state["video_height"], state["video_width"]) == (NUM_FRAMES, *SIZE)
        pictures = [np.array(Image.open(tmp_path / f"{number + 7}.jpg")) for number in range(NUM_FRAMES)]
        other = predictor.init_state(pictures)  # type: ignore[arg-type]
        for one in (state, other):
            click(predictor, one, 0, 1)
        assert_equal(propagated(predictor, state), propagated(predictor, other))

    def test_videos(self, predictor: SAM2VideoPredictor, tmp_path: Path) -> None:
        path = make_clip(tmp_path / "clip.mp4", 6, size_wh=(64, 48))
        state = predictor.init_state(str(path))
        assert (state["num_frames"], state["video_height"], state["video_width"]) == (6, 48, 64)
        click(predictor, state, 3, 1)
        forward = propagated(predictor, state)
        assert list(forward) == [3, 4, 5]
        assert list(propagated(predictor, state, 3, reverse=True)) == [3, 2, 1, 0]

    def test_frames_in_any_order(self, predictor: SAM2VideoPredictor, tmp_path: Path) -> None:
        state = predictor.init_state(make_clip(tmp_path / "clip.mp4", 20))
        straight = [state.frames[number] for number in range(20)]
        for number in (5, 6, 5, 4, 3, 19, 0, 0, 10, 9, 12, 11, 10, 11):
            assert torch.equal(state.frames[number], straight[number]), number
        with pytest.raises(InputError, match="no frame 20; the video has frames 0 to 19"):
            state.frames[20]

    def test_videos_that_are_none(self, predictor: SAM2VideoPredictor, tmp_path: Path) -> None:
        with pytest.raises(SourceError):
            predictor.init_state(str(tmp_path))
        with pytest.raises(SourceError):
            predictor.init_state(str(tmp_path / "absent.mp4"))

    def test_states_share_a_predictor(
        self, predictor: SAM2VideoPredictor, state: Any, clip: np.ndarray
    ) -> None:
        other = predictor.init_state(list(clip[::-1]))  # type: ignore[arg-type]
        click(predictor, state, 0, 1)
        alone = propagated(predictor, state)
        click(predictor, other, 2, 5)
        pairs = zip(
            predictor.propagate_in_video(state, 0), predictor.propagate_in_video(other, 0), strict=True
        )
        mixed = {frame: logits for (frame, _, logits), _ in pairs}
        assert_equal(mixed, alone)


class TestPrompts:
    def test_what_comes_back(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        frame, ids, logits = predictor.add_new_points_or_box(
            inference_state=state,
            frame_idx=2,
            obj_id=4,
            points=np.array(CLICK, np.float32),
            labels=np.array(ON, np.int32),
        )
        assert (frame, ids) == (2, [4])
        assert (logits.shape, logits.dtype) == ((1, 1, *SIZE), torch.float32)
        assert 0 < (logits > 0).float().mean() < 1
        frame, ids, both = predictor.add_new_points_or_box(state, 2, 1, box=np.array(BOX, np.float32))
        assert (frame, ids, both.shape) == (2, [4, 1], (2, 1, *SIZE))
        assert torch.equal(both[:1], logits)

    def test_objects_without_a_result_are_absent(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        click(predictor, state, 0, 1)
        logits = click(predictor, state, 3, 2)
        assert (logits[0] == NO_OBJECT).all()
        assert (logits[1] > NO_OBJECT).all()

    def test_lists_arrays_and_tensors(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        wanted = click(predictor, state, 0, 1)
        for points, labels in (
            (np.array(CLICK), np.array(ON)),
            (torch.tensor(CLICK), torch.tensor(ON)),
            (torch.tensor([CLICK]), torch.tensor([ON])),
        ):
            predictor.reset_state(state)
            got = predictor.add_new_points_or_box(state, 0, 1, points=points, labels=labels)[2]
            assert torch.equal(got, wanted)
        predictor.reset_state(state)
        assert torch.equal(predictor.add_new_points(state, 0, 1, CLICK, ON)[2], wanted)

    def test_box_and_points(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        box = predictor.add_new_points_or_box(state, 0, 1, box=BOX)[2]
        predictor.reset_state(state)
        both = predictor.add_new_points_or_box(state, 0, 1, CLICK, [0], box=torch.tensor(BOX))[2]
        assert not torch.equal(box, both)
        predictor.reset_state(state)
        corners = [BOX[:2], BOX[2:], *CLICK]
        by_labels = predictor.add_new_points_or_box(state, 0, 1, corners, [2, 3, 0])[2]
        assert torch.equal(by_labels, both)

    def test_relative_coordinates(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        wanted = predictor.add_new_points_or_box(state, 0, 1, [[16, 24]], ON)[2]
        predictor.reset_state(state)
        relative = predictor.add_new_points_or_box(state, 0, 1, [[0.25, 0.5]], ON, normalize_coords=False)[2]
        assert torch.equal(relative, wanted)

    def test_adding_to_earlier_clicks(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        """Either way the mask so far is where the next answer starts from."""

        def second(clear: bool, points: Any, labels: Any) -> Tensor:
            predictor.reset_state(state)
            click(predictor, state, 0, 1)
            return predictor.add_new_points_or_box(state, 0, 1, points, labels, clear_old_points=clear)[2]

        added = second(False, [[50, 30]], [0])
        assert torch.equal(added, second(True, [*CLICK, [50, 30]], [1, 0]))
        assert not torch.equal(added, second(True, [[50, 30]], [0]))

    def test_masks(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        mask = np.zeros(SIZE, np.bool_)
        mask[8:40, 16:48] = True
        frame, ids, logits = predictor.add_new_mask(state, 1, 3, mask)
        assert (frame, ids, logits.shape) == (1, [3], (1, 1, *SIZE))
        assert ((logits[0, 0] > 0).numpy() ^ mask).mean() < 0.03
        assert torch.equal(predictor.add_new_mask(state, 1, 3, torch.from_numpy(mask))[2], logits)
        assert torch.equal(propagated(predictor, state)[1], logits)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({}, "pass points with labels, a box, or both"),
            ({"points": CLICK}, "go together"),
            ({"labels": ON}, "go together"),
            ({"points": CLICK, "labels": [1, 0]}, "1 points with 2 labels"),
            ({"box": BOX, "clear_old_points": False}, "clear_old_points=True"),
            ({"points": [[1, float("nan")]], "labels": ON}, "finite"),
        ],
    )
    def test_malformed_ones(
        self, predictor: SAM2VideoPredictor, state: Any, given: Any, message: str
    ) -> None:
        with pytest.raises(PromptError, match=message) as caught:
            predictor.add_new_points_or_box(state, 0, 1, **given)
        assert isinstance(caught.value, ValueError)
        assert state["obj_ids"] == []

    def test_unknown_frames_and_flat_masks(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        for frame in (-1, NUM_FRAMES):
            with pytest.raises(InputError, match=f"there is no frame {frame}; the video has frames 0 to 8"):
                click(predictor, state, frame, 1)
            with pytest.raises(InputError, match=f"there is no frame {frame}"):
                predictor.add_new_mask(state, frame, 1, np.zeros(SIZE))
        with pytest.raises(PromptError, match=r"shape \(1, 48, 64\); expected \(h, w\)"):
            predictor.add_new_mask(state, 0, 1, np.zeros((1, *SIZE)))
        assert state["obj_ids"] == []


class TestPropagating:
    def test_what_comes(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        shown = click(predictor, state, 0, 5)
        video = predictor.propagate_in_video(state)
        assert isinstance(video, Iterator)
        frame, ids, logits = next(video)
        assert (frame, ids, logits.shape, logits.dtype) == (0, [5], (1, 1, *SIZE), torch.float32)
        assert torch.equal(logits, shown), "a prompted frame is shown as it was"
        assert [frame for frame, _, _ in video] == list(range(1, NUM_FRAMES))

    @pytest.mark.parametrize(
        ("options", "frames"),
        [
            ({}, [4, 5, 6, 7, 8]),
            ({"start_frame_idx": 6}, [6, 7, 8]),
            ({"start_frame_idx": 2, "max_frame_num_to_track": 3}, [2, 3, 4, 5]),
            ({"max_frame_num_to_track": 0}, [4]),
            ({"max_frame_num_to_track": 100}, [4, 5, 6, 7, 8]),
            ({"reverse": True}, [4, 3, 2, 1, 0]),
            ({"start_frame_idx": 6, "max_frame_num_to_track": 2, "reverse": True}, [6, 5, 4]),
            ({"start_frame_idx": 0, "reverse": True}, []),
        ],
    )
    def test_which_frames(
        self, predictor: SAM2VideoPredictor, state: Any, options: Any, frames: list[int]
    ) -> None:
        click(predictor, state, 4, 1)
        assert list(propagated(predictor, state, **options)) == frames

    def test_again_is_the_same(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        click(predictor, state, 0, 1)
        first = propagated(predictor, state)
        assert_equal(propagated(predictor, state), first)
        propagated(predictor, state, 5, reverse=True)
        assert_equal(propagated(predictor, state, 0), first)

    def test_objects_are_independent(self, predictor: SAM2VideoPredictor, clip: np.ndarray) -> None:
        def track(*numbers: int) -> dict[int, Tensor]:
            state = predictor.init_state(list(clip))  # type: ignore[arg-type]
            for number in numbers:
                predictor.add_new_points_or_box(
                    state, 2 * (number == 3), number, [[12 * number, 20]], [1 - number % 2 + 1 % 2]
                )
            return propagated(predictor, state, 0)

        together = track(1, 2, 3)
        for row, number in enumerate((1, 2)):
            alone = {frame: logits[0] for frame, logits in track(number).items()}
            assert_equal({frame: logits[row] for frame, logits in together.items()}, alone, within=1e-3)

    def test_nothing_to_propagate(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        with pytest.raises(StateError, match="add points, a box or a mask") as caught:
            next(predictor.propagate_in_video(state))
        assert isinstance(caught.value, RuntimeError)
        click(predictor, state, 0, 1)
        click(predictor, state, 1, "cat")
        predictor.clear_all_prompts_in_frame(state, 1, "cat")
        with pytest.raises(StateError, match="object cat has no prompt left"):
            next(predictor.propagate_in_video(state))

    def test_a_correction_changes_what_follows(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        click(predictor, state, 0, 1)
        before = propagated(predictor, state)
        corrected = click(predictor, state, 4, 1, 50, 30, 0)
        assert not torch.equal(corrected, before[4])
        after = propagated(predictor, state, 5)
        assert not torch.equal(after[5], before[5])

    def test_a_conditioning_frame_is_not_corrected_after_tracking(
        self, predictor: SAM2VideoPredictor, state: Any
    ) -> None:
        """The official predictor shows the new mask, and drops it with the next propagation."""
        shown = click(predictor, state, 0, 1)
        before = propagated(predictor, state)
        again = predictor.add_new_points_or_box(state, 0, 1, [[50, 30]], [0], clear_old_points=False)[2]
        assert not torch.equal(again, shown)
        assert_equal(propagated(predictor, state), before)
        predictor.clear_all_prompts_in_frame(state, 0, 1)
        click(predictor, state, 0, 1, 50, 30)
        assert not torch.equal(propagated(predictor, state)[0], shown), "this is the way to do it"

    def test_new_objects_between_propagations(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        click(predictor, state, 0, 1)
        before = propagated(predictor, state)
        predictor.add_new_mask(state, 4, 2, np.tri(*SIZE))
        after = propagated(predictor, state, 4)
        assert [logits.shape[0] for logits in after.values()] == [2] * 5
        alone = {frame: before[frame][0] for frame in after}
        assert_equal({frame: logits[0] for frame, logits in after.items()}, alone, within=1e-3)


class TestTakingBack:
    def test_clearing_prompts(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        click(predictor, state, 0, 1)
        click(predictor, state, 4, 1, 50, 30)
        cleared = predictor.clear_all_prompts_in_frame(state, 4, 1)
        assert cleared is not None
        frame, ids, logits = cleared
        assert (frame, ids) == (4, [1])
        assert (logits == NO_OBJECT).all(), "it was never tracked, so nothing is known of the frame"
        got = propagated(predictor, state)
        predictor.reset_state(state)
        click(predictor, state, 0, 1)
        assert_equal(got, propagated(predictor, state))

    def test_clearing_without_output(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        click(predictor, state, 0, 1)
        assert predictor.clear_all_prompts_in_frame(state, 0, 1, need_output=False) is None

    def test_a_result_of_a_cleared_prompt_stays_as_a_tracked_one(
        self, predictor: SAM2VideoPredictor, state: Any
    ) -> None:
        click(predictor, state, 0, 1)
        shown = click(predictor, state, 3, 1, 50, 30)
        propagated(predictor, state)
        cleared = predictor.clear_all_prompts_in_frame(state, 3, 1)
        assert cleared is not None
        assert torch.equal(cleared[2], shown)
        again = propagated(predictor, state)
        assert not torch.equal(again[3], shown), "it is followed like any other"

    def test_removing(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        click(predictor, state, 0, 1)
        click(predictor, state, 2, 2, 50, 30)
        click(predictor, state, 0, 3, 10, 40)
        before = propagated(predictor, state, 0)
        ids, updated = predictor.remove_object(state, 1)
        assert ids == state["obj_ids"] == [2, 3]
        assert [(frame, logits.shape) for frame, logits in updated] == [(0, (2, 1, *SIZE))]
        assert torch.equal(updated[0][1], before[0][1:])
        after = propagated(predictor, state, 0)
        assert_equal(after, {frame: logits[1:] for frame, logits in before.items()}, within=1e-3)

    def test_removing_in_the_middle(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        """Between propagations of a part, which then go on with what was found so far."""
        for number in (1, 2, 3):
            click(predictor, state, 0, number, 14 * number)
        whole = propagated(predictor, state)
        predictor.reset_state(state)
        for number in (1, 2, 3):
            click(predictor, state, 0, number, 14 * number)
        propagated(predictor, state, max_frame_num_to_track=4)
        assert predictor.remove_object(state, 1, need_output=False) == ([2, 3], [])
        rest = propagated(predictor, state, 5)
        assert_equal(rest, {frame: whole[frame][1:] for frame in rest}, within=1e-3)

    def test_removing_the_last_one(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        click(predictor, state, 0, 1)
        assert predictor.remove_object(state, 1) == ([], [])
        assert len(click(predictor, state, 3, 2)) == 1

    def test_removing_what_is_not_there(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        click(predictor, state, 0, 1)
        assert predictor.remove_object(state, 2) == ([1], [])
        with pytest.raises(InputError, match="cannot remove object 2: there is none; there are: 1"):
            predictor.remove_object(state, 2, strict=True)

    def test_resetting(self, predictor: SAM2VideoPredictor, state: Any) -> None:
        click(predictor, state, 0, 1)
        first = propagated(predictor, state)
        click(predictor, state, 4, 2)
        predictor.reset_state(state)
        assert (state["obj_ids"], state["num_frames"]) == ([], NUM_FRAMES)
        click(predictor, state, 0, 1)
        assert_equal(propagated(predictor, state), first)


class TestOptions:
    def test_masks_without_overlaps(self, clip: np.ndarray) -> None:
        tracks = []
        for apart in (False, True):
            predictor = make(non_overlap_masks=apart)
            state = predictor.init_state(list(clip[:3]))  # type: ignore[arg-type]
            click(predictor, state, 0, 1)
            predictor.add_new_points_or_box(state, 0, 2, box=BOX)
            tracks.append(propagated(predictor, state))
        plain, apart_ = (torch.stack(list(one.values())) > 0 for one in tracks)
        assert plain.all(1).any()
        assert not apart_.all(1).any()
        assert torch.equal(plain.any(1), apart_.any(1))

    def test_corrected_frames_as_conditioning_frames(self, clip: np.ndarray) -> None:
        """Off: the corrected frame is tracked again when a propagation comes by. On: it stays."""
        for stays in (False, True):
            predictor = make(add_all_frames_to_correct_as_cond=stays)
            state = predictor.init_state(list(clip))  # type: ignore[arg-type]
            click(predictor, state, 0, 1)
            propagated(predictor, state)
            corrected = click(predictor, state, 4, 1, 50, 30, 0)
            after = propagated(predictor, state)
            assert torch.equal(after[4], corrected) == stays
            cleared = predictor.clear_all_prompts_in_frame(state, 4, 1)
            assert cleared is not None
            assert torch.equal(propagated(predictor, state)[4], corrected) is False

    @pytest.mark.parametrize("conditioning", [False, True])
    def test_forgetting_around_a_prompt(self, clip: np.ndarray, conditioning: bool) -> None:
        tracks = []
        for forget in (False, True):
            predictor = make(
                clear_non_cond_mem_around_input=forget, add_all_frames_to_correct_as_cond=conditioning
            )
            state = predictor.init_state(list(clip))  # type: ignore[arg-type]
            click(predictor, state, 0, 1)
            propagated(predictor, state)
            corrected = click(predictor, state, 4, 1, 50, 30, 0)
            tracks.append(propagated(predictor, state, 3))
            assert torch.equal(tracks[-1][4], corrected) == conditioning
        assert not torch.equal(tracks[0][5], tracks[1][5])

    def test_filling_holes(self, clip: np.ndarray) -> None:
        """A hole of 4 cells is filled in what is shown; larger areas fill more."""
        mask = np.ones((64, 64), np.bool_)
        mask[24:32, 24:32] = False
        holes = []
        for area in (0, 3, 8):
            predictor = make(fill_hole_area=area)
            state = predictor.init_state(list(clip))  # type: ignore[arg-type]
            logits = predictor.add_new_mask(state, 0, 1, mask)[2]
            holes.append(bool((logits <= 0).any()))
        assert holes == [True, True, False]


class TestHistory:
    def test_a_long_history_gives_the_same_results(
        self, predictor: SAM2VideoPredictor, clip: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Memories that went to the disk come back bit by bit."""

        def track() -> list[Tensor]:
            state = predictor.init_state(list(clip))  # type: ignore[arg-type]
            click(predictor, state, 3, 1)
            click(predictor, state, 3, 2, 50, 30)
            found = [*propagated(predictor, state).values()]
            click(predictor, state, 5, 1, 40, 10, 0)
            found += propagated(predictor, state, 5, reverse=True).values()
            predictor.remove_object(state, 1)
            found += propagated(predictor, state, 2).values()
            return found

        wanted = track()
        monkeypatch.setattr(history_module, "IN_MEMORY", 2)
        got = track()
        assert len(got) == len(wanted)
        assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))

    def test_places_on_the_disk_are_used_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(history_module, "IN_MEMORY", 2)
        history = History(SMALL)
        tokens, side = SMALL.grid**2, SMALL.mask_size

        def trace(value: float) -> Trace:
            memory = torch.full((tokens, SMALL.memory_width), value, dtype=torch.bfloat16)
            return Trace(
                memory,
                torch.full((SMALL.width,), value),
                torch.full((side, side), value),
                torch.tensor(value),
            )

        for round_ in range(3):
            for frame in range(10):
                history.put((0, frame), trace(10 * round_ + frame))
            for frame in range(10):
                found = history.get((0, frame))
                assert all((part == 10 * round_ + frame).all() for part in found)
        history.discard((0, 3))
        history.discard((0, 9))
        history.discard((0, 9))
        assert (0, 3) not in history
        assert (0, 4) in history
        assert history._file is not None
        size = history._file.seek(0, 2)
        assert size <= 10 * history._record_bytes
        history.clear()
        assert (0, 4) not in history
        history.put((0, 1), trace(5))
        assert history.get((0, 1)).object_score == 5
