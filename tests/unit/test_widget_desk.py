"""A widget without its page: answers for photographs, films that are followed, corrected and followed on."""

from __future__ import annotations

import time
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

import maskwright as mw
from maskwright.mask_model import MaskModel
from maskwright.runtime.fake import Fake
from maskwright.widget import snapshots
from maskwright.widget.background import Background
from maskwright.widget.desk import Desk, sheet_of
from maskwright.widget.film import Film
from maskwright.widget.photo import Photo
from maskwright.widget.pictures import jpeg, smaller, stencil, window
from maskwright.widget.trails import TrackedMasks

FRAMES = np.full((40, 96, 128, 3), 200, np.uint8)
HERE, THERE = mw.Points([(40, 40)]), mw.Points([(90, 50)])


def photo_desk(picture: np.ndarray, **prompts: Any) -> tuple[Desk, Fake]:
    runtime = Fake()
    return Desk(Photo(MaskModel(runtime).embed(picture)), sheet_of(prompts)), runtime


def film_desk(frames: Any = FRAMES, **prompts: Any) -> tuple[Desk, Film]:
    film = Film(frames, MaskModel(Fake()))
    return Desk(film, sheet_of(prompts)), film


def found(desk: Desk, film: Film) -> TrackedMasks:
    desk.follow(wait=True)
    return film.masks(desk.sheet)


def bitmap_of(png: bytes) -> np.ndarray:
    with Image.open(BytesIO(png)) as part:
        return np.array(part.convert("RGBA"))[..., 3] > 0


def test_a_stencil_is_the_mask_around_the_object() -> None:
    bitmap = np.zeros((60, 90), np.bool_)
    bitmap[10:30, 40:80] = True
    bitmap[15, 50] = False
    cut = stencil(bitmap)
    assert cut.box == (40, 10, 80, 30)
    assert np.array_equal(bitmap_of(cut.png), bitmap[10:30, 40:80])
    assert stencil(bitmap, (120, 180)).box == (80, 20, 160, 60)
    assert stencil(np.zeros((9, 9), np.bool_)).png == b""


def test_masks_of_large_photographs_are_a_few_kilobytes() -> None:
    y, x = np.mgrid[:1951, :3000]
    assert len(stencil((x - 1500) ** 2 + (y - 900) ** 2 < 700**2).png) < 20_000


def test_pictures_are_sent_with_a_limited_side() -> None:
    picture = np.zeros((1951, 3000, 3), np.uint8)
    with Image.open(BytesIO(jpeg(picture, 800))) as sent:
        assert sent.size == (800, 520)
    data, box = window(picture, (-5, 1900.5, 90, 5000), 800)
    assert box == [0, 1900, 90, 1951]
    with Image.open(BytesIO(data)) as part:
        assert part.size == (90, 51)
    assert smaller((1, 9000), 90) == (1, 90)


def test_a_photo_is_encoded_once_and_each_prompt_asked_once(picture: np.ndarray) -> None:
    desk, runtime = photo_desk(picture)
    for x in (36, 90):
        desk.answer({"kind": "click", "x": x, "y": 44, "label": 1})
        desk.shown()
    assert (runtime.encoded, runtime.decoded) == (1, 2)
    desk.answer({"kind": "undo"})
    desk.shown()
    assert runtime.decoded == 2
    (one,) = desk.shown()
    assert one.area == desk.subject.masks(desk.sheet).areas[0]


def test_masks_are_those_of_segment(picture: np.ndarray) -> None:
    desk, runtime = photo_desk(picture, a=mw.Points([(36, 44)]), b=mw.Box(70, 20, 120, 90))
    masks = desk.subject.masks(desk.sheet)
    direct = MaskModel(runtime).embed(picture).segment(mw.Points([(36, 44)]), mw.Box(70, 20, 120, 90))
    assert isinstance(masks, mw.Masks)
    assert np.array_equal(masks.bitmaps, direct.bitmaps)
    assert np.array_equal(masks.scores, direct.scores)


def test_no_object_is_no_mask(picture: np.ndarray) -> None:
    desk, _ = photo_desk(picture)
    masks = desk.subject.masks(desk.sheet)
    assert isinstance(masks, mw.Masks)
    assert masks.bitmaps.shape == (0, 96, 128)
    assert masks.rle() == []


def test_a_preview_changes_nothing(picture: np.ndarray) -> None:
    desk, _ = photo_desk(picture)
    reply = desk.answer({"kind": "preview", "x": 36, "y": 44, "label": 1})
    assert bitmap_of(reply.buffers[0]).any()
    assert reply.content["score"] == pytest.approx(0.9)
    assert desk.sheet.objects == ()
    assert not desk.history.can_undo


def test_a_request_that_fails_leaves_everything_as_it_was(picture: np.ndarray) -> None:
    desk, _ = photo_desk(picture, a=mw.Points([(36, 44)]))
    before = desk.state()
    with pytest.raises(mw.PromptError):
        desk.answer({"kind": "click", "x": 1, "y": 9999, "label": 1})
    for kind in ("track", "nonsense", "show"):
        with pytest.raises(mw.MaskwrightError):
            desk.answer({"kind": kind, "frame": 4} | ({"frame": "x"} if kind == "show" else {}))
    assert desk.state() == before


def test_the_overview_shows_the_masks(picture: np.ndarray) -> None:
    empty, _ = photo_desk(picture)
    desk, _ = photo_desk(picture, a=mw.Box(10, 10, 60, 60))
    assert np.array_equal(empty.overview(), picture)
    changed = (desk.overview() != picture).any(-1)
    assert changed[15:55, 15:55].all()
    assert not changed[:, 90:].any()


def test_following_finds_what_track_finds() -> None:
    desk, film = film_desk(a=HERE, b={5: THERE})
    masks = found(desk, film)
    assert list(masks) == list(range(40))
    direct = list(MaskModel(Fake()).track(FRAMES, {1: HERE, 2: {5: THERE}}))
    for frame in direct:
        assert masks[frame.index].ids == frame.ids
        assert np.array_equal(masks[frame.index].bitmaps, frame.bitmaps)
        assert np.array_equal(masks[frame.index].boxes, frame.boxes)
    assert masks[5].prompted == {2}
    assert masks.rle(39)[1]["size"] == [96, 128]
    assert "2 objects" in repr(masks)
    with pytest.raises(KeyError):
        masks[40]


def test_a_correction_goes_on_from_a_snapshot_and_gives_the_same() -> None:
    desk, film = film_desk(a=HERE, b=THERE)
    before = found(desk, film)
    desk.retrack = False
    desk.show(37)
    desk.answer({"kind": "select", "object": 2})
    desk.answer({"kind": "click", "x": 20, "y": 80, "label": 1})
    quick = {one.object: one.area for one in desk.shown()}
    assert quick[2] > before[37].areas[1]  # at once, before anything is followed
    after = found(desk, film)
    run = desk._run
    assert run is not None
    assert run.latest is not None
    assert (run.latest.done, run.latest.total) == (7, 7)  # from the snapshot of frame 32 on
    assert np.array_equal(after[36].bitmaps, before[36].bitmaps)
    whole = MaskModel(Fake()).track(FRAMES, {1: HERE, 2: {0: THERE, 37: mw.Points([(20, 80)])}})
    for frame in whole:
        for one in frame:
            assert np.array_equal(after[frame.index][one.id].bitmap, one.bitmap)


def test_undo_brings_the_masks_back_and_deleting_costs_nothing() -> None:
    desk, film = film_desk(a=HERE, b=THERE)
    before = found(desk, film)
    desk.answer({"kind": "remove", "object": 1})
    assert film.behind(desk.sheet) == []
    assert film.masks(desk.sheet)[3].ids == (2,)
    desk.answer({"kind": "undo"})
    assert film.behind(desk.sheet) == []
    assert np.array_equal(film.masks(desk.sheet)[30].bitmaps, before[30].bitmaps)


def test_a_correction_starts_the_next_search_by_itself() -> None:
    desk, film = film_desk(a=HERE)
    found(desk, film)
    desk.show(20)
    desk.answer({"kind": "click", "x": 90, "y": 50, "label": 1})
    desk.follow(wait=True)
    assert film.behind(desk.sheet) == []
    assert film.masks(desk.sheet)[39].areas[0] > 1.5 * film.masks(desk.sheet)[19].areas[0]


def test_snapshots_are_bounded_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "SPACING", 2)
    monkeypatch.setattr(snapshots, "MOST", 4)
    desk, film = film_desk(a=HERE)
    found(desk, film)
    kept = film._snapshots
    frames = [one.frame for one in kept._taken]
    assert 1 < len(frames) <= 4
    assert max(frames) >= 24
    files = [one.path for one in kept._taken]
    assert sorted(files[0].parent.iterdir()) == sorted(files)
    desk.close()
    assert not files[0].parent.exists()


def test_stopping_keeps_what_was_found_and_following_goes_on() -> None:
    class Slow(Fake):
        def encode_image(self, *arguments: Any) -> Any:
            time.sleep(0.02)
            return super().encode_image(*arguments)

    film = Film(FRAMES, MaskModel(Slow()))
    desk = Desk(film, sheet_of({"a": HERE}))
    desk.answer({"kind": "track"})
    while desk.state()["film"]["done"] < 18:
        time.sleep(0.01)
    assert desk.answer({"kind": "preview", "x": 3, "y": 3, "label": 1}).buffers == ()
    desk.answer({"kind": "stop"})
    state = desk.state()["film"]
    assert not state["running"]
    assert state["behind"] == [1]
    assert 18 <= len(film.masks(desk.sheet)) < 40
    assert list(found(desk, film)) == list(range(40))
    assert desk._run is not None
    assert desk._run.latest is not None
    assert desk._run.latest.total < 40
    assert desk.state()["film"]["covered"] == [[0, 39]]


def test_an_error_while_following_is_told() -> None:
    class Broken(Fake):
        def recall(self, *arguments: Any, **options: Any) -> Any:
            raise mw.SourceError("the disk is on fire")

    desk = Desk(Film(FRAMES, MaskModel(Broken())), sheet_of({"a": HERE}))
    with pytest.raises(mw.SourceError, match="on fire"):
        desk.follow(wait=True)
    assert desk.state()["film"]["error"] == "the disk is on fire"


def test_nothing_to_follow() -> None:
    desk, _ = film_desk()
    with pytest.raises(mw.StateError, match="click on an object"):
        desk.follow()


@pytest.mark.parametrize(
    ("source", "said"),
    [(iter(FRAMES), "any order"), ("missing.mp4", "no such video"), (None, "cannot take frames")],
)
def test_films_that_cannot_be_scrubbed(source: Any, said: str) -> None:
    with pytest.raises(mw.InputError, match=said):
        Film(source, MaskModel(Fake()))


def test_weights_for_pictures_follow_nothing() -> None:
    with pytest.raises(mw.InputError, match="pictures only"):
        Film(FRAMES, MaskModel(Fake(), image_only=True))
    with pytest.raises(mw.InputError, match="backwards"):
        Film(FRAMES, MaskModel(Fake()), direction="backwards")  # type: ignore[arg-type]


def test_both_directions() -> None:
    film = Film(FRAMES, MaskModel(Fake()), direction="both")
    desk = Desk(film, sheet_of({"a": {20: HERE}}))
    assert list(found(desk, film)) == list(range(40))


def test_frames_in_any_order() -> None:
    frames = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 9, 3), np.uint8)
    film = Film(frames, MaskModel(Fake()))
    for number in (0, 1, 30, 35, 2, 39, 38, 0):
        assert film.image(number)[0, 0, 0] == number
    with pytest.raises(mw.InputError, match="0 to 39"):
        film.image(40)


def test_a_background_ends_when_told() -> None:
    def steps() -> Any:
        while True:
            time.sleep(0.005)
            yield 1

    ended: list[bool] = []
    run = Background(steps(), lambda: ended.append(True))
    run.cancel()
    assert not run.running
    assert run.cancelled
    assert ended == [True]
