from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from maskwright.config import ModelConfig
from maskwright.errors import InputError
from maskwright.model.candidates import NO_OBJECT, Chosen, choose_tracked
from maskwright.model.sam2 import Decoded
from maskwright.runtime.fake import Fake
from maskwright.track.options import TrackOptions
from maskwright.track.policy import ConfidentPolicy, OfficialPolicy, Policy
from maskwright.track.session import Session
from maskwright.types import Box, Points
from small import SMALL, small_clip, small_runtime

BOX = Box(10, 8, 40, 40)


def decoded(*, score: float = 1.0, unstable: bool = False) -> Decoded:
    """One object: mask m is positive in its first m + 1 rows; pointers hold the number of the mask."""
    logits = torch.full((1, 1, 4, 8, 8), -5.0)
    for number in range(4):
        logits[0, 0, number, : number + 1] = 5
    if unstable:
        logits[0, 0, 0] *= 0.001
    pointers = torch.arange(4.0)[None, None, :, None].expand(1, 1, 4, SMALL.width)
    return Decoded(logits, torch.tensor([[[0.6, 0.7, 0.9, 0.8]]]), pointers, torch.tensor([[score]]))


def chosen(scores: Sequence[float], ious: Sequence[float]) -> Chosen:
    num = len(scores)
    return Chosen(
        torch.zeros(num, 4, 4), torch.tensor(ious), torch.zeros(num, SMALL.width), torch.tensor(scores)
    )


def remembered(session: Session) -> set[int]:
    return set(session._tracks.memories.frames(0))


class TestOfficial:
    def test_following_takes_the_best_candidate(self) -> None:
        answer = OfficialPolicy().choose(decoded(), SMALL, single=False)
        assert answer.iou_O.tolist() == pytest.approx([0.9])
        assert (answer.logits_OHW[0] > 0).sum() == 3 * 8
        assert answer.pointers_OC[0, 0] == 2

    def test_clear_prompts_take_the_single_mask(self) -> None:
        answer = OfficialPolicy().choose(decoded(), SMALL, single=True)
        assert answer.iou_O.tolist() == pytest.approx([0.6])
        assert answer.pointers_OC[0, 0] == 0

    def test_the_best_steps_in_for_an_unstable_one_but_the_pointer_stays(self) -> None:
        answer = OfficialPolicy().choose(decoded(unstable=True), SMALL, single=True)
        assert answer.iou_O.tolist() == pytest.approx([0.9])
        assert answer.pointers_OC[0, 0] == 0
        trusting = OfficialPolicy(trust_unstable=True).choose(decoded(unstable=True), SMALL, single=True)
        assert trusting.iou_O.tolist() == pytest.approx([0.6])

    def test_absent_objects_have_no_mask(self) -> None:
        answer = OfficialPolicy().choose(decoded(score=-0.1), SMALL, single=False)
        assert (answer.logits_OHW == NO_OBJECT).all()

    def test_everything_is_remembered(self) -> None:
        assert OfficialPolicy().remembers(chosen([-3, 3], [0.1, 0.9])) is None


class TestConfident:
    def test_what_is_kept(self) -> None:
        kept = ConfidentPolicy(min_iou=0.5).remembers(chosen([1, 1, -1, 2], [0.5, 0.4, 0.9, 0.9]))
        assert kept == [True, False, False, True]

    def test_it_chooses_as_the_official_one(self) -> None:
        for single in (True, False):
            for a, b in zip(
                ConfidentPolicy().choose(decoded(), SMALL, single=single),
                OfficialPolicy().choose(decoded(), SMALL, single=single),
                strict=True,
            ):
                assert torch.equal(a, b)

    @pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
    def test_impossible_limits(self, wrong: float) -> None:
        with pytest.raises(InputError, match="min_iou"):
            ConfidentPolicy(wrong)

    def test_frames_without_the_object_do_not_push_it_out_of_memory(self) -> None:
        """Ten black frames: officially they fill the memory, here it stands still."""
        official, confident = (
            Session(Fake(SMALL), TrackOptions(policy=policy))
            for policy in (OfficialPolicy(), ConfidentPolicy())
        )
        light, dark = (np.full((48, 64, 3), value, np.uint8) for value in (200, 0))
        for session in (official, confident):
            session.push(light)
            session.prompt(1, BOX)
            for _ in range(4):
                session.push(light)
            for _ in range(10):
                assert not session.push(dark)[1].visible
            session.push(light)
        assert remembered(official) == {0, *range(9, 15)}
        assert remembered(confident) == {0, 1, 2, 3, 4}
        session = confident
        for _ in range(3):
            assert session.push(light)[1].visible
        assert len(remembered(session)) == 7
        assert max(remembered(session)) == 7, "the object's own clock counts remembered frames"

    def test_nothing_left_out_is_the_official_track(self) -> None:
        runtime, clip = small_runtime(), small_clip(8)
        tracks = []
        for policy in (OfficialPolicy(), ConfidentPolicy(min_iou=0)):
            session = Session(runtime, TrackOptions(policy=policy))
            session.push(clip[0])
            session.prompt(1, Points((20, 20)))
            tracks.append([session.push(frame) for frame in clip[1:]])
        assert all(frame.visible.all() for frame in tracks[0])
        for a, b in zip(*tracks, strict=True):
            np.testing.assert_array_equal(a.logits, b.logits)

    def test_a_frame_left_out_might_never_have_been_pushed(self) -> None:
        """Other objects aside, a track goes on as if the frame had been skipped."""
        runtime, clip = small_runtime(), small_clip(9)

        @dataclass(frozen=True)
        class Without(OfficialPolicy):
            def remembers(self, chosen: Chosen) -> Sequence[bool] | None:
                return [float(one) not in forgotten for one in chosen.object_score_O]

        def track(frames: np.ndarray, policy: Policy) -> list[float]:
            session = Session(runtime, TrackOptions(policy=policy))
            session.push(frames[0])
            session.prompt(1, Points((20, 20)))
            return [float(session.push(frame).object_scores[0]) for frame in frames[1:]]

        forgotten: set[float] = set()
        plain = track(clip, Without())
        forgotten = {plain[3]}  # frame 4
        got = track(clip, Without())
        wanted = track(np.delete(clip, 4, axis=0), OfficialPolicy())
        assert got[:4] == plain[:4]
        assert got[4:] == wanted[3:]
        assert got[4:] != plain[4:]


@dataclass(frozen=True)
class SingleMask:
    """A policy of one's own: always the single mask, every other object remembered."""

    def choose(self, decoded: Decoded, config: ModelConfig, *, single: bool) -> Chosen:
        return choose_tracked(*decoded, single=True, delta=config.stability_delta, threshold=None)

    def remembers(self, chosen: Chosen) -> Sequence[bool] | None:
        return [row % 2 == 0 for row in range(len(chosen.iou_O))]


def test_a_policy_of_ones_own() -> None:
    session = Session(Fake(SMALL), TrackOptions(policy=SingleMask()))
    frame = np.full((48, 64, 3), 200, np.uint8)
    session.push(frame)
    session.prompt(1, BOX)
    session.prompt(2, BOX)
    for _ in range(3):
        tracked = session.push(frame)
    assert tracked.scores.tolist() == pytest.approx([0.85, 0.85]), "the score of the single mask"
    assert set(session._tracks.memories.frames(0)) == {0, 1, 2}
    assert set(session._tracks.memories.frames(1)) == {0}, "only the prompted frame"
