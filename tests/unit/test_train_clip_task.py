"""Learning from clips: through time, by the verbs of use, with the prompts of the recipe."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from maskwright.config import NANO
from maskwright.errors import InputError
from maskwright.io.datasets.protocol import Clip, Pictures, Videos
from maskwright.model.candidates import Chosen
from maskwright.model.memory_bank import empty_bank
from maskwright.model.prompt_encoder import BOX_START, NEGATIVE, POSITIVE
from maskwright.model.sam2 import SAM2, Slots
from maskwright.train.augment import AugmentConfig
from maskwright.train.build import open_recipe
from maskwright.train.clip_batch import ClipBatch, ClipDrawer
from maskwright.train.clip_memory import Remembered, pointer_span, stacked_bank
from maskwright.train.clip_prompts import Plan, draw_plan, first_question, loose_box
from maskwright.train.clip_task import ClipConfig, ClipTask, answer_loss, unroll
from maskwright.train.finetune import parts_to_train
from maskwright.train.task import Draw
from moving import MovingVideos, StillSquares, moving_squares
from small import SMALL, lively

SMALL_128 = SMALL.at(128)
NANO_128 = NANO.at(128)
CONFIG = ClipConfig(frames=4, clicks=2, rate=1e-3, encoder_rate=1e-3, layer_decay=1.0)


pytestmark = pytest.mark.usefixtures("one_thread")


def network(config=SMALL_128) -> SAM2:
    if not config.match_memory:
        return lively(config)
    torch.manual_seed(0)
    return SAM2(config).eval()


def batch_of(num_frames: int, *, hidden: tuple[int, ...] = (), side: int = 128) -> ClipBatch:
    frames, masks = moving_squares(num_frames, side, hidden=hidden)
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 128 - 1
    return ClipBatch(pixels, torch.from_numpy(masks), torch.ones(num_frames, dtype=torch.bool))


def losses_of(answers, config: ClipConfig = CONFIG):
    return [answer_loss(one, config) for one in answers]


@pytest.mark.parametrize("config", [SMALL, NANO.at(64)], ids=lambda config: config.name)
def test_ten_steps_on_one_clip_drive_the_loss_down(config):
    model = network(config)
    parts_to_train(model)
    task = ClipTask(model, replace(CONFIG, frames=3, mask_prompts=1, reverse=0), MovingVideos((3,)))
    draw = Draw(0, 0, 0)
    batch = task.batch(draw)
    groups = [{"params": list(group.parameters.values()), "lr": group.rate} for group in task.groups()]
    optimiser = torch.optim.AdamW(groups)
    losses = []
    for _ in range(10):
        found = task(batch, draw, 0.0)
        optimiser.zero_grad()
        found["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(found["loss"].item())
    assert losses[-1] < 0.75 * losses[0], losses
    assert not any(value.requires_grad for name, value in found.items() if name != "loss")


@pytest.mark.parametrize("config", [SMALL_128, NANO_128], ids=lambda config: config.name)
def test_the_last_frame_teaches_how_the_first_one_is_remembered(config):
    model = network(config)
    parts_to_train(model)
    batch = batch_of(4)
    first = [torch.zeros(1)]
    real = model.encode_memory

    def watched(*args):
        memory = real(*args)
        if len(first) == 1:
            memory.retain_grad()
            first.append(memory)
        return memory

    model.encode_memory = watched
    answers = unroll(model, batch, Plan({0: "mask"}, frozenset()), CONFIG, np.random.default_rng(0))
    assert len(answers) == 3
    losses_of(answers)[-1].total.backward()
    assert float(first[1].grad.abs().sum()) > 0
    writer = "memory_cells.key.weight" if config.match_memory else "memory_encoder.out.weight"
    assert float(model.get_parameter(writer).grad.abs().sum()) > 0


def test_it_reaches_through_several_memories():
    """Without attention to the first frame itself, only the frames between can carry the gradient."""
    model = network()
    memories = []
    real = model.encode_memory

    def cut(*args):
        memory = real(*args)
        memories.append(memory if memories else memory.detach().requires_grad_())
        return memories[-1]

    model.encode_memory = cut
    parts_to_train(model)
    config = replace(CONFIG, clicks=0)
    answers = unroll(model, batch_of(4), Plan({0: "mask"}, frozenset()), config, np.random.default_rng(0))
    gradient = torch.autograd.grad(losses_of(answers)[-1].total, [memories[0], memories[1]])
    assert all(float(part.abs().sum()) > 0 for part in gradient)


@pytest.mark.parametrize("config", [SMALL_128, NANO_128], ids=lambda config: config.name)
def test_a_stacked_bank_equals_the_one_written_in_place(config):
    model, num_frames, rng = network(config), 9, torch.Generator().manual_seed(0)
    prompted, span = {0: True, 6: True}, pointer_span(config, num_frames)
    features = [model.encode_image(torch.randn(1, 3, 128, 128, generator=rng)) for _ in range(num_frames + 1)]
    bank = empty_bank(config, 2, num_frames, num_frames, "cpu", torch.float32)
    seen: list[Remembered] = []
    with torch.no_grad():
        for frame in (0, 6, 1, 2, 3, 4, 5, 7, 8):
            chosen = Chosen(
                torch.randn(2, 32, 32, generator=rng) * 3,
                torch.ones(2),
                torch.randn(2, config.width, generator=rng),
                torch.tensor([1.0, -1.0 if frame == 3 else 1.0]),
            )
            flags, at = torch.full((2,), prompted.get(frame, False)), torch.full((2,), frame)
            no = torch.zeros(2, dtype=torch.bool)
            slots = Slots(torch.arange(2), at, at)
            model.remember(features[frame], chosen, bank, slots, at, flags, no)
            memory = model.encode_memory(features[frame], chosen.logits_OHW, chosen.object_score_O, no)
            seen.append(Remembered(frame, bool(flags[0]), memory, chosen.pointers_OC))
        for now in (2, 5, 9):
            moment = (torch.full((2,), now), torch.tensor(1), torch.tensor(float(span)))
            before = [one for one in seen if one.frame != now]
            whole = bank._replace(
                frames_OS=bank.frames_OS.where(bank.frames_OS != now, -(1 << 40)),
                pointer_frames_OP=bank.pointer_frames_OP.where(bank.pointer_frames_OP != now, -(1 << 40)),
            )
            wanted = model.recall(features[now], whole, *moment, masked=True)
            stacked = stacked_bank(before, now, config, span)
            given = model.recall(features[now], stacked, *moment, masked=False)
            for ours, theirs in zip(given.levels, wanted.levels, strict=True):
                torch.testing.assert_close(ours, theirs, atol=5e-5, rtol=1e-4)
    assert stacked.memories_OSID.shape[1] == 7, "frames 0 and 6, and 3, 4, 5, 7, 8 of the last six"


def test_hidden_objects_are_judged_by_the_object_score_alone():
    model = network()
    parts_to_train(model)
    batch = batch_of(3, hidden=(1, 2))
    plan = Plan({0: "mask"}, frozenset())
    answers = unroll(model, batch, plan, CONFIG, np.random.default_rng(0))
    assert [one.seen_BP[:, 0].tolist() for one in answers] == [[True, False], [True, False]]
    logits, scores = answers[0].decoded.logits_BPMHW, answers[0].decoded.object_score_BP
    mask_part, iou_part, score_part = torch.autograd.grad(
        losses_of(answers)[0].total, [logits, answers[0].decoded.iou_BPM, scores], retain_graph=True
    )
    assert float(mask_part[0].abs().sum()) > 0
    assert float(mask_part[1].abs().sum()) == float(iou_part[1].abs().sum()) == 0
    assert float(score_part[1]) > 0 > float(score_part[0]), "one is to go down, the other up"


def test_frames_that_nothing_is_known_of_are_followed_but_not_judged():
    batch = batch_of(4)._replace(known_T=torch.tensor([True, False, True, False]))
    answers = unroll(network(), batch, Plan({0: "mask"}, frozenset()), CONFIG, np.random.default_rng(0))
    assert len(answers) == 1
    for seed in range(20):
        plan = draw_plan(batch.known_T.numpy(), ClipConfig(), np.random.default_rng(seed))
        assert set(plan.prompts) | plan.corrected <= {0, 2}


def test_plans_are_those_of_the_recipe():
    rng, known = np.random.default_rng(0), np.ones(8, np.bool_)
    plans = [draw_plan(known, ClipConfig(), rng) for _ in range(2000)]
    firsts = [plan.prompts[0] for plan in plans]
    assert all(next(iter(plan.prompts)) == 0 for plan in plans)
    shares = [firsts.count(kind) / len(plans) for kind in ("mask", "box", "click")]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.04)
    assert {len(plan.prompts) for plan in plans} == {1, 2}
    for plan in plans:
        masks = [kind == "mask" for kind in plan.prompts.values()]
        assert all(masks) or not any(masks)
        if any(masks):
            assert not plan.corrected
        else:
            assert set(plan.prompts) <= plan.corrected
            assert 1 <= len(plan.corrected) <= 2
        assert sorted(plan.order(8)) == list(range(8))
    assert any(len(plan.corrected) > len(plan.prompts) for plan in plans), "some are corrected while followed"


def test_pictures_always_get_points():
    rng = np.random.default_rng(0)
    for _ in range(20):
        plan = draw_plan(np.ones(1, np.bool_), ClipConfig(), rng)
        assert plan.prompts[0] in ("box", "click")
        assert plan.corrected == {0}


def test_every_correction_is_an_answer_and_brings_one_click():
    model = network()
    plan = Plan({0: "click"}, frozenset({0, 2}))
    with torch.no_grad():
        answers = unroll(model, batch_of(3), plan, CONFIG, np.random.default_rng(0))
    assert len(answers) == (1 + 2) + 1 + (1 + 2)
    assert [tuple(one.targets_BPHW.shape[:2]) for one in answers] == [(1, 2)] * 3 + [(2, 1)] * 4
    assert [bool(one.sure_BP.any()) for one in answers] == [False, True, True, False, False, False, True]


def test_corrected_frames_are_remembered_as_prompted():
    model, flags = network(), []
    real = stacked_bank

    def watched(seen, frame, config, span):
        flags.append((frame, [one.frame for one in seen if one.prompted]))
        return real(seen, frame, config, span)

    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr("maskwright.train.clip_task.stacked_bank", watched)
        plan = Plan({0: "box", 3: "click"}, frozenset({0, 3, 1}))
        unroll(model, batch_of(4), plan, replace(CONFIG, clicks=1), np.random.default_rng(0))
    assert flags == [(1, [0, 3]), (2, [0, 3, 1])], "prompted frames come first and see no memories"


def test_first_questions_fit_their_objects():
    _, masks = moving_squares(2, 128, hidden=(1,))
    rng = np.random.default_rng(0)
    truth = masks.reshape(2, 2, 32, 4, 32, 4).mean(axis=(3, 5)).astype(np.float32)
    for _ in range(10):
        box = first_question("box", masks[1], truth[1][None], CONFIG, rng)
        assert box.labels_BPK[0, 0, :2].tolist() == [BOX_START, BOX_START + 1]
        assert box.labels_BPK[0, 1, 0] == NEGATIVE, "the second object is hidden in the second frame"
        click = first_question("click", masks[0], truth[0][None], CONFIG, rng)
        assert (click.labels_BPK == POSITIVE).sum(dim=2).tolist() == [[1, 1]]
        for which in range(2):
            x, y = click.points_BPK2[0, which][click.labels_BPK[0, which] == POSITIVE][0].long().tolist()
            assert masks[0, which, y, x]


def test_boxes_are_loose_by_at_most_their_share_and_twenty_pixels():
    mask = np.zeros((512, 512), np.bool_)
    mask[100:400, 50:90] = True
    rng = np.random.default_rng(0)
    off = np.stack([loose_box(mask, 0.1, rng) - ((50, 100), (89, 399)) for _ in range(300)])
    most = np.abs(off).max(axis=(0, 1))
    assert most[0] == pytest.approx(3.9, abs=0.2)
    assert most[1] == pytest.approx(20, abs=0.5)


@pytest.mark.parametrize("recompute", ["trunk", "all"])
def test_computing_again_changes_neither_losses_nor_gradients(recompute: str):
    found = []
    for mode in ("none", recompute):
        model = network()
        parts_to_train(model)
        config = replace(CONFIG, recompute=mode, clicks=1)
        plan = Plan({0: "click"}, frozenset({0}))
        answers = unroll(model, batch_of(3), plan, config, np.random.default_rng(0))
        total = torch.stack([loss.total for loss in losses_of(answers)]).mean()
        total.backward()
        assert "forward" not in model.trunk.blocks[0].__dict__
        found.append((total.detach(), model.trunk.patch.weight.grad, model.memory_encoder.out.weight.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_adapters_are_added_once_for_all_frames_and_recomputing_agrees():
    found = []
    for mode, calls in (("none", 1), ("trunk", 3 + 3)):
        model, made = network(), []
        parts_to_train(model, "encoder", 2)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith(".up"):
                    parameter.fill_(0.01)
        adapter = model.trunk.blocks[1].attention.qkv.parametrizations.weight[0]
        adapter.register_forward_hook(lambda *_, made=made: made.append(1))
        config = replace(CONFIG, recompute=mode, clicks=0)
        answers = unroll(model, batch_of(3), Plan({0: "box"}, frozenset()), config, np.random.default_rng(0))
        torch.stack([loss.total for loss in losses_of(answers)]).mean().backward()
        assert len(made) == calls, "three frames, and again in the backward pass"
        found.append((adapter.up.grad, adapter.down.grad))
    for one, other in zip(*found, strict=True):
        assert float(one.abs().max()) > 0
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("kind", ["mask", "box", "click"])
def test_an_object_may_be_hidden_in_a_prompted_frame(kind):
    model = network()
    parts_to_train(model)
    corrected = frozenset() if kind == "mask" else frozenset({0, 2})
    plan = Plan({0: kind, 2: kind}, corrected)
    answers = unroll(model, batch_of(4, hidden=(2,)), plan, CONFIG, np.random.default_rng(0))
    total = torch.stack([loss.total for loss in losses_of(answers)]).mean()
    total.backward()
    gradients = [one.grad for one in model.parameters() if one.grad is not None]
    assert torch.isfinite(total)
    assert all(bool(torch.isfinite(one).all()) for one in gradients)


def test_half_precision_works():
    model = network()
    parts_to_train(model)
    task = ClipTask(model, replace(CONFIG, frames=3), MovingVideos((3,)))
    for step in range(3):
        draw = Draw(0, step, 0)
        with torch.autocast("cpu", torch.bfloat16):
            found = task(task.batch(draw), draw, 0.0)
        found["loss"].backward()
        assert found["loss"].dtype == torch.float32
        assert torch.isfinite(found["loss"])


def test_batches_depend_on_the_draw_alone():
    task = ClipTask(network(), CONFIG, MovingVideos((6, 7)), augment=AugmentConfig())
    one, again, other = (task.batch(Draw(0, step, 0)) for step in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one.pixels_TCHW, other.pixels_TCHW)
    assert one.masks_TOHW[0].flatten(1).any(1).all(), "every object is visible in the first frame"
    with torch.no_grad():
        first, second = (task(one, Draw(0, 3, 0), 0.0) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_clips_are_runs_of_frames_forward_and_backward():
    videos = MovingVideos((12,))
    drawer = ClipDrawer(videos, replace(CONFIG, stride=3, reverse=0.0), SMALL_128)
    for seed in range(30):
        drawer.draw(AugmentConfig.off(), np.random.default_rng(seed))
    steps = set()
    for _, frames in videos.reads:
        assert len(frames) == 4
        assert len({b - a for a, b in pairwise(frames)}) == 1
        steps.add(frames[1] - frames[0])
    assert steps == {1, 2, 3}
    ways = []
    for seed in range(30):
        batch = ClipDrawer(MovingVideos((4,)), CONFIG, SMALL_128).draw(
            AugmentConfig.off(), np.random.default_rng(seed)
        )
        ways.append(bool(batch.masks_TOHW[0, 0, :, 0].any()))
    assert {True, False} == set(ways), "the first square begins at the left edge, unless time runs backward"


def test_short_videos_give_short_clips_and_hidden_objects_do_not_begin_one():
    drawer = ClipDrawer(MovingVideos((2,), hidden=(0,)), replace(CONFIG, reverse=0.0), SMALL_128)
    batch = drawer.draw(AugmentConfig.off(), np.random.default_rng(0))
    assert batch.masks_TOHW.shape == (2, 1, 128, 128)


def test_data_sets_are_told_apart():
    assert isinstance(MovingVideos(), Videos)
    assert isinstance(StillSquares(), Pictures)
    assert not isinstance(StillSquares(), Videos)


def test_pictures_train_as_clips_of_one_frame():
    model = network()
    parts_to_train(model)
    task = ClipTask(model, CONFIG, StillSquares(), StillSquares())
    batch = task.batch(Draw(0, 0, 0))
    assert batch.pixels_TCHW.shape == (1, 3, 128, 128)
    found = task(batch, Draw(0, 0, 0), 0.0)
    found["loss"].backward()
    assert model.memory_encoder.out.weight.grad is None
    assert set(task.validate(model)) == {"box", "click"}


def test_made_clips_train_too(tmp_path):
    from maskwright.train.clips import Clip as MadeClip
    from maskwright.train.clips import ClipMaker, ClipSettings

    class Made(ClipMaker):
        def make(self, number: int) -> MadeClip:
            frames, masks = moving_squares(self.settings.frames, self.settings.size, seed=number)
            covered = masks.reshape(*masks.shape[:2], 16, 4, 16, 4).mean(axis=(3, 5)) * 255
            return MadeClip(frames, covered.round().astype(np.uint8))

    maker = Made([], [], ClipSettings(size=64, frames=3))
    batch = ClipTask(network(), CONFIG, maker).batch(Draw(0, 0, 0))
    assert batch.pixels_TCHW.shape == (3, 3, 128, 128)
    assert batch.masks_TOHW.shape == (3, 2, 128, 128)


def test_validation_follows_from_the_first_mask():
    model = network()
    task = ClipTask(model, replace(CONFIG, val_clips=2), MovingVideos(), MovingVideos((5,)))
    figures = task.validate(model)
    assert task.score == "followed"
    assert set(figures) == {"box", "click", "followed"}
    assert all(0 <= value <= 1 for value in figures.values())
    assert figures == task.validate(model)
    assert ClipTask(model, CONFIG, MovingVideos()).validate(model) == {}
    with pytest.raises(InputError, match="nothing to measure 'followed' by"):
        ClipTask(model, CONFIG, MovingVideos(), MovingVideos((1,))).validate(model)


def test_validation_is_spread_over_the_held_out_data():
    model, config = network(SMALL), replace(CONFIG, val_clips=3)
    many, few = MovingVideos((4,) * 7, side=64), MovingVideos((9,), side=64)
    for videos in (many, few):
        ClipTask(model, config, MovingVideos(), videos).validate(model)
    assert [index for index, _ in many.reads] == [0, 2, 4]
    assert len({frames for _, frames in few.reads}) > 1, "several clips of the one video"
    stills = ClipDrawer(StillSquares(2, side=64), config, SMALL)
    assert len(list(stills.fixed(5, 0))) == 2


def test_the_recipe_is_that_of_the_paper():
    recipe = open_recipe("finetune-video")
    assert recipe.settings == ClipConfig()
    assert (recipe.settings.losses.focal, recipe.settings.losses.dice) == (20, 1)
    assert (recipe.settings.losses.iou, recipe.settings.losses.object) == (1, 1)
    assert (recipe.settings.frames, recipe.settings.clicks, recipe.loop.clip) == (8, 7, 0.1)
    assert open_recipe("finetune-video", ["clips.losses.dice=2"]).settings.losses.dice == 2


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="frames must be 1 or more"):
        ClipConfig(frames=0)
    with pytest.raises(InputError, match="reverse is a share"):
        ClipConfig(reverse=2)
    with pytest.raises(InputError, match="recompute must be one of none, trunk, all"):
        ClipConfig(recompute="some")
    with pytest.raises(InputError, match="built for 128"):
        ClipTask(network(), ClipConfig(size=256), MovingVideos())
    with pytest.raises(InputError, match="empty"):
        ClipTask(network(), CONFIG, MovingVideos(()))

    class Blank(MovingVideos):
        def read(self, index, frames):
            clip = super().read(index, frames)
            return Clip(clip.frames, np.zeros_like(clip.masks), clip.ids)

    with pytest.raises(InputError, match="show no object in their first frame"):
        ClipTask(network(), CONFIG, Blank()).batch(Draw(0, 0, 0))
