"""Results as supervision has them, looked at with supervision itself: of 0.27 and of 0.31."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import supervision as sv

import maskwright as mw
from maskwright.interop.supervision import box_prompts, from_supervision, to_detections
from maskwright.pixels import rle

H, W = 40, 60
PICTURE = np.full((H, W, 3), 100, np.uint8)
has_compact_masks = pytest.mark.skipif(
    not hasattr(sv, "CompactMask"), reason="this supervision has no compact masks"
)


def bitmaps() -> np.ndarray:
    """A ring, nothing, a single pixel in the corner, and a bar that reaches the right and lower edges."""
    made = np.zeros((4, H, W), np.bool_)
    made[0, 5:20, 10:30] = True
    made[0, 10:15, 15:25] = False
    made[2, 0, 0] = True
    made[3, 30:, 50:] = True
    return made


def masks(**changes: Any) -> mw.Masks:
    made = {
        "bitmaps": bitmaps(),
        "scores": np.array([0.9, 0.2, 0.5, 0.7], np.float32),
        "logits": np.zeros((4, 8, 8), np.float32),
        "object_scores": np.array([3, -2, 1, 2], np.float32),
        "image": PICTURE,
    }
    return mw.Masks(**made | changes)


def found() -> mw.FoundMasks:
    runs = [rle.placed(bitmap, (0, 0), (H, W)) for bitmap in bitmaps()]
    boxes, areas = rle.measured(runs, (H, W))
    return mw.FoundMasks(
        size=(H, W),
        runs=tuple(runs),
        scores=np.array([0.9, 0.2, 0.5, 0.7], np.float32),
        stabilities=np.array([0.99, np.nan, 0.9, 0.95], np.float32),
        boxes=boxes.astype(np.float32),
        areas=areas,
        points=np.array([[12, 6], [1, 1], [0, 0], [55, 35]], np.float32),
        crops=np.tile(np.array([[0, 0, W, H]]), (4, 1)),
        image=PICTURE,
    )


def frame(object_scores: tuple[float, ...] = (3, -2, 1, 2)) -> mw.TrackedFrame:
    made = masks()
    return mw.TrackedFrame(
        index=7,
        ids=(4, 9, 1, 30),
        bitmaps=made.bitmaps,
        scores=made.scores,
        object_scores=np.array(object_scores, np.float32),
        boxes=made.boxes,
        areas=made.areas,
        logits=made.logits,
        image=PICTURE,
    )


class TestMasks:
    def test_what_is_there(self) -> None:
        detections = masks().to_supervision()
        assert isinstance(detections, sv.Detections)
        assert np.array_equal(detections.mask, bitmaps()[[0, 2, 3]])
        assert detections.mask.dtype == np.bool_
        assert np.array_equal(detections.xyxy, sv.mask_to_xyxy(detections.mask))
        assert detections.xyxy.dtype == np.float32
        assert detections.confidence.tolist() == pytest.approx([0.9, 0.5, 0.7])
        assert detections.class_id.tolist() == [0, 0, 0]
        assert detections.tracker_id is None
        assert detections["class_name"].tolist() == ["object"] * 3
        assert detections["object"].tolist() == [1, 3, 4]
        assert detections["object_score"].tolist() == [3, 1, 2]
        assert detections.area.tolist() == [250, 1, 100]

    def test_of_candidates_the_best(self) -> None:
        three = np.stack([np.zeros_like(bitmaps()), bitmaps(), bitmaps()], axis=1)
        three[3, 2, :5] = True
        scores = np.array([[0.1, 0.9, 0.2], [0.1, 0.2, 0.1], [0.1, 0.5, 0.2], [0.1, 0.2, 0.7]], np.float32)
        made = masks(bitmaps=three, scores=scores, logits=np.zeros((4, 3, 8, 8), np.float32))
        detections = made.to_supervision()
        assert np.array_equal(detections.mask, three[[0, 2, 3], [1, 1, 2]])
        assert detections.confidence.tolist() == pytest.approx([0.9, 0.5, 0.7])

    @pytest.mark.parametrize(
        ("labels", "names", "classes"),
        [
            (["cup", "gone", "dot", "cup"], ["cup", "dot", "cup"], [0, 2, 0]),
            ({4: "bar", 1: "ring"}, ["ring", "object", "bar"], [1, 2, 0]),
            ({4: "bar", 1: "object"}, ["object", "object", "bar"], [1, 1, 0]),
            ({}, ["object"] * 3, [0, 0, 0]),
        ],
    )
    def test_labels(self, labels: Any, names: list[str], classes: list[int]) -> None:
        detections = masks().to_supervision(labels=labels)
        assert detections["class_name"].tolist() == names
        assert detections.class_id.tolist() == classes

    @pytest.mark.parametrize(
        ("labels", "words"),
        [(["cup"], "1 labels for 4 objects"), ("cups", "labels are 'cups'; expected a mapping")],
    )
    def test_labels_that_do_not_fit(self, labels: Any, words: str) -> None:
        with pytest.raises(mw.InputError, match=words):
            masks().to_supervision(labels=labels)

    def test_the_result_is_not_shared(self) -> None:
        made = masks()
        detections = made.to_supervision()
        detections.mask[:] = True
        detections.confidence[:] = 0
        assert made.areas.tolist() == [250, 0, 1, 100]
        assert made.scores[0] == pytest.approx(0.9)

    def test_rows_can_be_chosen(self) -> None:
        """All columns follow, as supervision's own do."""
        detections = masks().to_supervision(labels=["a", "b", "c", "d"])
        sure = detections[detections.confidence > 0.6]
        assert sure["class_name"].tolist() == ["a", "d"]
        assert sure.mask.shape == (2, H, W)


class TestEmpty:
    @pytest.mark.parametrize("compact", [False, pytest.param(True, marks=has_compact_masks)])
    @pytest.mark.parametrize("result", [masks()[[1]], masks()[[]], found()[[1]], mw.FoundMasks.none((H, W))])
    def test_nothing_in_a_picture_is_what_supervision_calls_empty(self, result: Any, compact: bool) -> None:
        detections = result.to_supervision(compact=compact)
        assert len(detections) == 0
        assert detections.is_empty()
        assert len(sv.Detections.merge([detections, masks().to_supervision()])) == 3

    def test_nobody_in_a_frame_can_be_drawn(self) -> None:
        """Traces want tracker_id, also where there is none."""
        detections = frame((-1, -1, -1, -1)).to_supervision()
        assert len(detections) == 0
        assert detections.tracker_id.tolist() == []
        drawn = sv.TraceAnnotator(color_lookup=sv.ColorLookup.TRACK).annotate(PICTURE.copy(), detections)
        drawn = sv.MaskAnnotator(color_lookup=sv.ColorLookup.TRACK).annotate(drawn, detections)
        assert np.array_equal(drawn, PICTURE)


class TestFrames:
    def test_objects_keep_their_numbers(self) -> None:
        detections = frame().to_supervision(labels={1: "dot", 4: "ring", 77: "later"})
        assert detections.tracker_id.tolist() == [4, 1, 30]
        assert detections["object"].tolist() == [4, 1, 30]
        assert detections["class_name"].tolist() == ["ring", "dot", "object"]
        assert detections.class_id.tolist() == [1, 0, 3]

    def test_classes_are_the_same_when_objects_go(self) -> None:
        labels = {1: "dot", 4: "ring", 30: "bar"}
        all_there, one_left = frame(), frame((-1, -1, -1, 2))
        assert all_there.to_supervision(labels=labels).class_id.tolist() == [1, 0, 2]
        assert one_left.to_supervision(labels=labels).class_id.tolist() == [2]

    def test_an_occluded_object_is_left_out_though_it_has_pixels(self) -> None:
        assert frame((-0.5, 1, 1, 1)).to_supervision().tracker_id.tolist() == [1, 30]

    def test_names_go_by_number(self) -> None:
        with pytest.raises(mw.InputError, match=r"expected a mapping from object number to name$"):
            frame().to_supervision(labels=["a", "b", "c", "d"])


class TestFound:
    def test_stability_and_click_come_along(self) -> None:
        detections = found().to_supervision()
        assert np.array_equal(detections.mask, bitmaps()[[0, 2, 3]])
        assert np.array_equal(detections.xyxy, sv.mask_to_xyxy(detections.mask))
        assert detections["stability"].tolist() == pytest.approx([0.99, 0.9, 0.95])
        assert detections["point"].tolist() == [[12, 6], [0, 0], [55, 35]]
        assert detections[1:]["point"].tolist() == [[0, 0], [55, 35]]


class TestCompact:
    @has_compact_masks
    @pytest.mark.parametrize("result", [masks(), found(), frame()], ids=["masks", "found", "frame"])
    def test_the_same_masks(self, result: Any) -> None:
        detections = to_detections(result, compact=True)
        assert isinstance(detections.mask, sv.CompactMask)
        assert np.array_equal(detections.mask.to_dense(), result.to_supervision().mask)
        assert detections.area.tolist() == [250, 1, 100]
        assert np.array_equal(from_supervision(detections).bitmaps, bitmaps()[[0, 2, 3]])

    @has_compact_masks
    def test_found_masks_are_not_drawn_for_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A picture of 6 megapixels with 150 objects is 0.9 GB of bitmaps."""
        monkeypatch.setattr(mw.FoundMasks, "bitmaps", property(lambda _: pytest.fail("drew the bitmaps")))
        assert len(found().to_supervision(compact=True)) == 3

    def test_a_supervision_without_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(sv, "CompactMask", raising=False)
        with pytest.raises(mw.InputError, match=r"has no CompactMask; pip install -U supervision"):
            masks().to_supervision(compact=True)


class TestBack:
    def test_masks_come_back(self) -> None:
        detections = masks().to_supervision()
        back = from_supervision(detections, PICTURE)
        assert np.array_equal(back.bitmaps, bitmaps()[[0, 2, 3]])
        assert back.scores.tolist() == pytest.approx([0.9, 0.5, 0.7])
        assert back.object_scores.tolist() == [3, 1, 2]
        assert back.logits.shape == (3, 0, 0)
        assert back.overlay().shape == (H, W, 3)
        assert np.array_equal(back.to_supervision().xyxy, detections.xyxy)

    def test_of_others(self) -> None:
        """Without confidence, and masks that a careless tool left as numbers."""
        detections = sv.Detections(xyxy=np.zeros((4, 4)), mask=bitmaps())
        detections.mask = bitmaps().astype(np.uint8)
        back = from_supervision(detections)
        assert back.bitmaps.dtype == np.bool_
        assert back.scores.tolist() == back.object_scores.tolist() == [1, 1, 1, 1]
        assert back.image is None

    def test_nothing(self) -> None:
        assert from_supervision(sv.Detections.empty(), PICTURE).bitmaps.shape == (0, H, W)
        with pytest.raises(mw.InputError, match="pass the picture"):
            from_supervision(sv.Detections.empty())

    def test_boxes_alone_are_prompts(self) -> None:
        boxes = np.array([[1, 2, 30.5, 40], [-5, 3, 70, 20]])
        detections = sv.Detections(xyxy=boxes)
        with pytest.raises(mw.InputError, match=r"have no masks; box_prompts\(detections\)"):
            from_supervision(detections, PICTURE)
        assert box_prompts(detections, size=(H, W)) == [mw.Box(1, 2, 30.5, 40), mw.Box(0, 3, 60, 20)]
        assert box_prompts(detections)[1] == mw.Box(-5, 3, 70, 20)
        assert box_prompts(sv.Detections.empty()) == []

    @pytest.mark.parametrize(
        ("box", "words"),
        [
            ((5, 5, 5, 9), "detection 1 has no area"),
            ((70, 5, 80, 9), "detection 1 lies outside the picture, which is 60 pixels wide and 40 high"),
        ],
    )
    def test_boxes_that_cannot_be_prompts(self, box: tuple[int, ...], words: str) -> None:
        detections = sv.Detections(xyxy=np.array([(1, 1, 9, 9), box], float))
        with pytest.raises(mw.PromptError, match=words):
            box_prompts(detections, size=(H, W))

    @pytest.mark.parametrize("wrong", [None, [1, 2], masks()])
    def test_something_else(self, wrong: Any) -> None:
        for function in (from_supervision, box_prompts):
            with pytest.raises(mw.InputError, match="expected supervision.Detections, not a"):
                function(wrong)

    def test_a_picture_of_another_size(self) -> None:
        with pytest.raises(mw.InputError, match="does not fit"):
            from_supervision(masks().to_supervision(), PICTURE[:-1])


class TestAnnotators:
    """supervision draws what it is given: each object in its own colour, and nothing elsewhere."""

    @pytest.mark.parametrize("compact", [False, pytest.param(True, marks=has_compact_masks)])
    def test_a_picture_by_index(self, compact: bool) -> None:
        detections = masks().to_supervision(compact=compact)
        drawn = sv.MaskAnnotator(color_lookup=sv.ColorLookup.INDEX, opacity=1).annotate(
            PICTURE.copy(), detections
        )
        assert not (drawn == PICTURE).all(axis=-1)[bitmaps().any(axis=0)].any()
        assert (drawn == PICTURE)[~bitmaps().any(axis=0)].all()
        assert len({tuple(drawn[y, x]) for y, x in ((6, 11), (0, 0), (35, 55))}) == 3

    def test_a_video_by_number(self) -> None:
        """The colour of an object stays when others go."""
        annotator = sv.MaskAnnotator(color_lookup=sv.ColorLookup.TRACK, opacity=1)
        before, after = (
            annotator.annotate(PICTURE.copy(), one.to_supervision())
            for one in (frame(), frame((-1, -1, -1, 2)))
        )
        assert before[35, 55].tolist() == after[35, 55].tolist() != PICTURE[35, 55].tolist()

    def test_labels_are_written(self) -> None:
        detections = masks().to_supervision(labels=["ring", "none", "dot", "bar"])
        drawn = sv.LabelAnnotator().annotate(PICTURE.copy(), detections)
        assert (drawn != PICTURE).any()


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(mw.MissingExtraError, match=r'pip install "maskwright\[supervision\]"'):
        masks().to_supervision()
    plain = SimpleNamespace(xyxy=np.zeros((1, 4)), mask=bitmaps()[:1], confidence=None, data={})
    assert len(from_supervision(plain, PICTURE)) == 1  # which needs no supervision
