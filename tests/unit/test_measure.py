"""Measuring: statistics, stages, rounds, parity, scenes, weights, tables and charts, without any timing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import maskwright
from maskwright import facade
from maskwright.config import PRESETS
from maskwright.errors import InputError, UnknownModelError
from maskwright.mask_model import MaskModel
from maskwright.measure import rounds as rounds_module
from maskwright.measure.chart import draw
from maskwright.measure.claims import claim_of
from maskwright.measure.parity import Comparison, matched
from maskwright.measure.plan import Plan
from maskwright.measure.probe import Event, Probe, stages
from maskwright.measure.results import Figure, Parity, Report, Subject, Timing
from maskwright.measure.rounds import Allowance, Limits, frames, in_turn, rounds
from maskwright.measure.run import measure, num_pieces
from maskwright.measure.scene import LENGTH, prepared
from maskwright.measure.shots import Answer
from maskwright.measure.tables import markdown, notes, tables
from maskwright.measure.weights import random_state, weights_of
from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.prompt_encoder import PromptTensors
from maskwright.model.sam2 import Decoded
from maskwright.runtime.fake import Fake
from maskwright.types import Box, Points
from maskwright.weights.load import build, load_checkpoint

ABOUT = {
    "time": "2026-01-02T03:04:05+00:00",
    "maskwright": "0.1.0",
    "commit": "abc1234",
    "processor": "a processor",
    "cores": 2,
    "gpu": None,
    "load": [0.5, 0.4, 0.3],
    "system": "Linux x86_64",
    "python": "3.11.7",
    "packages": {"torch": "2.13.0"},
    "threads": 2,
}


def discs(*radii: int) -> np.ndarray:
    y, x = np.mgrid[:64, :64]
    return np.stack([(x - 32) ** 2 + (y - 32) ** 2 < radius**2 for radius in radii])


def figure(task: str = "frame", model: str = "sam2.1-tiny", *, ours: bool = True, **more: object) -> Figure:
    values = {
        "who": "maskwright 0.1.0" if ours else "sam2 1.1.0",
        "objects": 1,
        "times": {"model": Timing([8.0]), "pipeline": Timing([10.0]), "end_to_end": Timing([20.0])},
    } | more
    return Figure(model=model, task=task, ours=ours, **values)  # type: ignore[arg-type]


def report(*figures: Figure, random_weights: bool = False, finished: bool = True) -> Report:
    subject = Subject("sam2.1-tiny", random_weights, 1024, 1024, "cpu", "float32", "a photo", "a film")
    return Report(dict(ABOUT), [subject], list(figures), [], finished)


class TestTiming:
    def test_statistics(self) -> None:
        timing = Timing([10.0, 20.0, 30.0, 40.0, 100.0])
        assert timing.p50 == 30
        assert timing.p95 == pytest.approx(88)
        assert timing.per_second == pytest.approx(1000 / 30)

    def test_plain_values(self) -> None:
        assert json.loads(json.dumps(Timing([4.0]).plain())) == {
            "p50_ms": 4.0,
            "p95_ms": 4.0,
            "per_second": 250.0,
            "samples_ms": [4.0],
        }


class TestStages:
    def test_a_tracked_frame(self) -> None:
        events = [
            Event("remember", 1.0, 2.0),
            Event("encode", 4.0, 8.0),
            Event("recall", 9.0, 12.0),
            Event("decode", 12.0, 13.0),
        ]
        assert stages(events, 1.0, 15.0) == {
            "other": 1.0,
            "remember": 1.0,
            "resize": 2.0,
            "encode": 4.0,
            "recall": 3.0,
            "decode": 1.0,
            "upscale": 2.0,
        }

    def test_they_add_up(self) -> None:
        events = [Event("encode", 0.5, 2.0), Event("decode", 2.5, 3.0), Event("decode", 4.0, 4.5)]
        assert sum(stages(events, 0.0, 5.0).values()) == pytest.approx(5.0)

    def test_without_a_model_everything_is_other(self) -> None:
        assert stages([], 1.0, 3.0) == {"other": 2.0}


class TestProbe:
    def test_changes_nothing_and_notes_every_verb(self, picture: np.ndarray) -> None:
        probe = Probe(Fake())
        plain = MaskModel(Fake()).embed(picture).segment(Points((36, 44)))
        probe.listening = True
        masks = MaskModel(probe).embed(picture).segment(Points((36, 44)))
        assert (masks.bitmaps == plain.bitmaps).all()
        assert [event.stage for event in probe.events] == ["encode", "encode", "decode"]
        assert all(event.began <= event.ended for event in probe.events)

    def test_follows_objects(self, picture: np.ndarray) -> None:
        probe = Probe(Fake())
        with MaskModel(probe).session() as session:
            session.push_prompted(picture, {1: Box(14, 22, 58, 66)})  # type: ignore[dict-item]
            probe.listening = True
            session.push(picture)
        assert [event.stage for event in probe.events] == ["remember", "encode", "recall", "decode"]

    def test_notes_nothing_unless_it_listens(self, picture: np.ndarray) -> None:
        probe = Probe(Fake())
        MaskModel(probe).embed(picture)
        assert probe.events == []


class TestRounds:
    LIMITS = Limits(least=3, most=6, plain=4)

    def test_the_first_warms_up(self) -> None:
        assert list(rounds(None, lambda: False, self.LIMITS)) == [False, True, True, True, True]

    def test_the_fewest_are_made_however_long_they_take(self) -> None:
        assert list(rounds(0.0, lambda: False, self.LIMITS)) == [False, True, True, True]

    def test_no_more_than_the_most(self) -> None:
        assert sum(rounds(1e6, lambda: False, self.LIMITS)) == 6

    def test_stopped(self) -> None:
        done: list[bool] = []
        for counts in rounds(None, lambda: len(done) == 2, self.LIMITS):
            done.append(counts)
        assert done == [False, True]

    def test_frames_count_when_memories_are_full(self) -> None:
        found = list(frames(None, lambda: False, self.LIMITS, LENGTH))
        assert found == [False] * 16 + [True] * 4  # the first is frame 1

    def test_frames_count_earlier_where_time_is_short(self) -> None:
        assert all(frames(0.0, lambda: False, self.LIMITS, LENGTH))

    def test_frames_count_at_once_where_memories_were_filled(self) -> None:
        found = list(frames(None, lambda: False, self.LIMITS, LENGTH, 2))
        assert found == [False] + [True] * 4

    def test_no_more_frames_than_there_are(self) -> None:
        assert len(list(frames(None, lambda: False, self.LIMITS, 10))) == 9

    def test_everybody_is_first_in_turn(self) -> None:
        order = ["".join(name for name, _ in in_turn({"a": 1, "b": 2, "c": 3}, n)) for n in range(4)]
        assert order == ["abc", "bca", "cab", "abc"]

    def test_what_one_piece_leaves_goes_to_the_next(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0.0]
        monkeypatch.setattr(rounds_module.time, "monotonic", lambda: now[0])
        allowance = Allowance(30.0, 3)
        assert allowance.share() == 10
        now[0] = 4.0
        assert allowance.share() == 13
        now[0] = 40.0
        assert allowance.share() == 0
        assert Allowance(None, 3).share() is None


class TestParity:
    def test_masks_and_logits(self) -> None:
        comparison = Comparison("them")
        logits = np.full((2, 8, 8), 4.0, np.float32)
        comparison.add(Answer(discs(10, 20), logits), Answer(discs(10, 20), logits))
        comparison.add(Answer(discs(10, 0), logits), Answer(discs(20, 0), logits + 1))
        parity = comparison.parity
        assert parity is not None
        assert (parity.reference, parity.masks, parity.empty) == ("them", 4, 1)
        assert parity.worst_iou == pytest.approx(0.25, abs=0.02)
        assert parity.mean_iou == pytest.approx((3 + parity.worst_iou) / 4)
        assert parity.logit_error == pytest.approx(0.2)

    def test_nothing_compared(self) -> None:
        assert Comparison("them").parity is None

    def test_without_logits(self) -> None:
        comparison = Comparison("them")
        comparison.add(Answer(discs(10), None), Answer(discs(10), None))
        assert comparison.parity is not None
        assert comparison.parity.logit_error is None

    def test_masks_in_any_order(self) -> None:
        assert matched(discs(20, 8), discs(8, 20)) == [1.0, 1.0]

    def test_what_is_left_over_counts_as_nothing(self) -> None:
        assert matched(discs(20), discs(8, 20)) == [1.0, 0.0]
        assert matched(np.zeros((0, 64, 64), bool), discs(8)) == [0.0]


class TestPlan:
    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"models": ()}, "models are none"),
            ({"models": ("nano", "nano")}, "each once"),
            ({"parts": ("images",)}, "choose of image, video, automask, start"),
            ({"objects": (0,)}, "objects: 0 is not between 1 and 64"),
            ({"seconds": 0.0}, "seconds: 0"),
            ({"threads": 0}, "threads: 0"),
            ({"grid": 0}, "grid: 0"),
            ({"image": Path("nowhere.jpg")}, "there is no nowhere.jpg"),
        ],
    )
    def test_bad_values(self, change: dict[str, object], complaint: str) -> None:
        with pytest.raises(InputError, match=complaint):
            Plan(**change)  # type: ignore[arg-type]

    def test_pieces(self) -> None:
        assert num_pieces(Plan()) == 6
        assert num_pieces(Plan(models=("a", "b"), parts=("image", "start"))) == 4


class TestScene:
    def test_drawn(self, tmp_path: Path) -> None:
        scene = prepared(None, None, tmp_path, side=None)
        assert scene.photo_size == (720, 1280)
        assert scene.photo_title == "a drawn scene"
        assert all(0 <= x < 1280 and 0 <= y < 720 for x, y in scene.clicks)
        h, w = scene.film_size
        for x0, y0, x1, y1 in scene.boxes(64):
            assert 0 <= x0 < x1 <= w
            assert 0 <= y0 < y1 <= h
        assert len(set(scene.boxes(64))) == 64

    def test_square_frames_that_nobody_has_to_resize(self, photo: Path, tmp_path: Path) -> None:
        scene = prepared(photo, None, tmp_path, side=64)
        assert scene.film_size == (64, 64)
        assert len(list(scene.film.glob("*.jpg"))) == LENGTH
        assert "64 x 64" in scene.film_title

    def test_a_short_film_goes_on(self, photo: Path, tmp_path: Path) -> None:
        film = prepared(photo, None, tmp_path, side=None).film
        for path in sorted(film.glob("*.jpg"))[3:]:
            path.unlink()
        (tmp_path / "more").mkdir()
        scene = prepared(photo, film, tmp_path / "more", side=None)
        assert scene.film == film
        shown = scene.frames()
        images = [next(shown).image for _ in range(5)]
        shown.close()
        assert (images[3] == images[0]).all()


class TestWeights:
    def test_a_file_is_what_it_is(self, nano_file: Path, tmp_path: Path) -> None:
        found = weights_of(str(nano_file), tmp_path, random=True)
        assert (found.source, found.random) == (str(nano_file), False)

    def test_unknown(self, tmp_path: Path) -> None:
        with pytest.raises(UnknownModelError):
            weights_of("sam9", tmp_path, random=True)

    def test_random_ones_where_there_are_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        found = weights_of("sam2.1-tiny", tmp_path, random=True)
        assert found.random
        assert load_checkpoint(found.source).config == PRESETS["sam2.1-tiny"]

    def test_always_the_same(self) -> None:
        config = PRESETS["nano"]
        one, two = random_state(config), random_state(config)
        assert all(torch.equal(one[name], two[name]) for name in one)
        build(config, one)


class TestTables:
    def test_claimed_and_here(self) -> None:
        table = tables(report(figure()))[0]
        assert list(table.columns)[:3] == ["model", "claimed (old)", "claimed (compiled)"]
        assert table.rows == [["sam2.1-tiny", "47.2", "91.2", "125", "100", "50"]]

    def test_nothing_was_claimed_for_nano(self) -> None:
        assert claim_of("nano") is None
        assert claim_of("sam2-base+") == (34.8, 64.1)

    def test_random_weights_are_labelled_everywhere(self) -> None:
        random = report(figure(model="sam2.1-tiny (random weights)"), random_weights=True)
        text = markdown(random)
        assert all(row[0].endswith("(random weights)") for table in tables(random) for row in table.rows)
        assert "masks are noise" in text
        assert random.plain()["models"][0]["label"] == "sam2.1-tiny (random weights)"

    def test_parity_beside_the_figures(self) -> None:
        parity = Parity("sam2 1.1.0", 10, 0.99876, 0.98, 0.97, logit_error=1.5e-3)
        both = report(figure(parity=parity), figure(ours=False))
        rows = tables(both)[1].rows
        assert rows[0][-1] == "IoU 0.9988 (0.9800), logits 1.5e-03, to sam2 1.1.0"
        assert rows[1][-1] == "reference"

    def test_stages(self) -> None:
        table = tables(report(figure(stages_ms={"encode": 123.4, "read": 1.25})))[-1]
        assert "123" in table.rows[0]
        assert "1.25" in table.rows[0]

    def test_ended_early(self) -> None:
        assert any("ended early" in line for line in notes(report(figure(), finished=False)))

    def test_nothing_measured(self) -> None:
        assert "Nothing was measured." in markdown(report(finished=False))

    def test_every_table_is_one(self) -> None:
        text = markdown(report(figure(who="a|b", stages_ms={"encode": 1.0})), "bench.png")
        blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
        assert len(blocks) == 3
        for lines in blocks:
            assert len({line.count("|") for line in lines}) == 1
        assert "![Chart](bench.png)" in text


class TestChart:
    def test_bars_are_in_proportion(self) -> None:
        slow = figure("embed", times={"pipeline": Timing([40.0])}, ours=False)
        fast = figure("embed", times={"pipeline": Timing([10.0])})
        pixels = np.asarray(draw(report(fast, slow)))
        ours, theirs = ((pixels == colour).all(-1).any(0).sum() for colour in ((23, 88, 134), (214, 137, 64)))
        assert theirs == pytest.approx(4 * ours, rel=0.03)

    def test_empty(self) -> None:
        assert draw(report()).size[0] > 0


def test_a_busy_machine_is_noted() -> None:
    busy = report(figure())
    busy.about["load"] = [1.7, 1.0, 1.0]
    assert any("load 1.7, 2 cores" in line for line in notes(busy))
    assert not any("busy" in line for line in notes(report(figure())))


class TestMeasure:
    @pytest.fixture(autouse=True)
    def fake(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(facade, "load", lambda name, **_: MaskModel(Fake()))

    def test_every_task_has_a_figure(self, photo: Path) -> None:
        seen: list[int] = []
        told: list[str] = []
        found = measure(
            Plan(image=photo, parts=("image", "video", "automask"), objects=(1, 2), grid=2, seconds=1.0),
            changed=lambda one: seen.append(len(one.figures)),
            told=told.append,
        )
        assert {line.partition(", ")[0] for line in told} == {
            "nano: a picture and clicks",
            "nano: frames with 1 object",
            "nano: frames with 2 objects",
            "nano: automatic masks",
        }
        assert [(one.task, one.objects) for one in found.figures[:4]] == [
            ("embed", 1),
            ("prompt", 1),
            ("frame", 1),
            ("frame", 2),
        ]
        assert found.figures[4].task == "automask"
        assert not any(one.notes for one in found.figures)
        assert seen == [2, 3, 4, 5, 5]
        assert found.finished
        for one in found.figures:
            assert set(one.times) == {"model", "pipeline", "end_to_end"}
            for level in one.times.values():
                assert len(level.samples_ms) >= 1
        assert {"resize", "encode", "recall", "decode", "remember", "upscale", "write"} <= set(
            found.figures[2].stages_ms
        )
        json.dumps(found.plain())

    def test_another_dtype_is_compared_with_float32(
        self, photo: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Half(Fake):
            """Masks one cell aside, in a dtype that it only claims to have."""

            dtype = torch.bfloat16

            def decode(self, features: ImageFeatures, prompts: PromptTensors) -> Decoded:
                decoded = super().decode(features, prompts)
                return decoded._replace(logits_BPMHW=decoded.logits_BPMHW.roll(1, -1))

        monkeypatch.setattr(
            facade, "load", lambda name, dtype, **_: MaskModel(Half() if dtype == "bf16" else Fake())
        )
        plan = Plan(image=photo, parts=("image", "video"), objects=(1,), seconds=1.0, dtype="bf16")
        found = {(one.task, one.who): one for one in measure(plan).figures}
        assert len(found) == 6
        half, exact = (
            found["prompt", f"maskwright {maskwright.__version__}{end}"] for end in ("", " in float32")
        )
        assert half.parity is not None
        assert half.parity.reference == exact.who
        assert 0.5 < half.parity.mean_iou < 1
        assert exact.parity is None
        assert {one.peak_mib for one in found.values()} == {None}

    def test_another_runtime_is_named_and_compared(
        self, photo: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def load(name: str, runtime: str | None, **_: object) -> MaskModel:
            return MaskModel(Fake(), runtime_name=runtime or "eager")

        monkeypatch.setattr(facade, "load", load)
        found = measure(Plan(image=photo, parts=("image",), seconds=1.0, runtime="compiled"))
        assert [one.dtype for one in found.subjects] == ["float32 on compiled"]
        assert [one.who.endswith(" in float32") for one in found.figures] == [False, True] * 2
        compiled = next(one for one in found.figures if one.task == "prompt")
        assert compiled.parity is not None
        assert compiled.parity.mean_iou == 1

    def test_a_folder_of_graphs_is_not_compared_with_itself(
        self, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(facade, "load", lambda name, **_: MaskModel(Fake(), runtime_name="openvino"))
        (tmp_path / "graphs").mkdir()
        found = measure(Plan(models=(str(tmp_path / "graphs"),), image=photo, parts=("image",), seconds=1.0))
        assert [one.dtype for one in found.subjects] == ["float32 on openvino"]
        assert [one.task for one in found.figures] == ["embed", "prompt"]
        assert {one.parity for one in found.figures} == {None}

    def test_stopped_in_the_middle(self, photo: Path) -> None:
        reports: list[Report] = []
        found = measure(
            Plan(image=photo, parts=("image", "video"), objects=(1,), seconds=1.0),
            stopping=lambda: bool(reports),
            changed=reports.append,
        )
        assert [one.task for one in found.figures] == ["embed", "prompt"]
        assert not found.finished

    def test_threads_are_as_before(self, photo: Path) -> None:
        before = torch.get_num_threads()
        measure(Plan(image=photo, parts=("image",), threads=before + 1, seconds=1.0))
        assert torch.get_num_threads() == before
