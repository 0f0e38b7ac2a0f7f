from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from maskwright.errors import InputError, OutputError, PromptError
from maskwright.mask_model import MaskModel
from maskwright.model.sam2 import SAM2
from maskwright.runtime.eager import Eager
from maskwright.runtime.fake import Fake
from maskwright.runtime.select import choose
from maskwright.segmenter import LOGIT_LIMIT, Embedding
from maskwright.types import Box, MaskPrompt, Points, Prompt
from small import SMALL


def real_model(*, seed: int = 0, image_size: int = 64) -> MaskModel:
    torch.manual_seed(seed)
    return MaskModel(Eager(SAM2(SMALL.at(image_size)).eval(), choose("cpu")))


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def embedding(fake: Fake, picture: np.ndarray) -> Embedding:
    return MaskModel(fake).embed(picture)


@pytest.fixture(scope="module")
def real(picture: np.ndarray) -> Embedding:
    return real_model().embed(picture)


class TestResults:
    def test_one_object_per_argument(self, embedding: Embedding, picture: np.ndarray) -> None:
        masks = embedding.segment(Points([(36, 44)]), Box(76, 30, 112, 80), Points((10, 10)))
        assert masks.bitmaps.shape == (3, 96, 128)
        assert masks.bitmaps.dtype == np.bool_
        assert masks.scores.shape == (3,)
        assert masks.logits.shape == (3, 32, 32)
        assert masks.object_scores.shape == (3,)
        assert {masks.scores.dtype, masks.logits.dtype, masks.object_scores.dtype} == {np.dtype(np.float32)}
        assert [masks.bitmaps[0, 44, 36], masks.bitmaps[1, 55, 94], masks.bitmaps[2, 10, 10]] == [True] * 3
        assert not masks.bitmaps[0, 55, 94]
        np.testing.assert_array_equal(masks.image, picture)

    def test_shapes_do_not_depend_on_the_number_of_objects(self, embedding: Embedding) -> None:
        masks = embedding.segment(Points((36, 44)))
        assert masks.bitmaps.shape == (1, 96, 128)
        assert embedding.segment(Points((36, 44)), candidates=True).bitmaps.shape == (1, 3, 96, 128)

    def test_the_best_candidate_is_chosen_by_predicted_iou(self, real: Embedding) -> None:
        prompts = Points([(36, 44)]), Box(76, 30, 112, 80) + Points([(90, 50)], labels=[0])
        best, three = real.segment(*prompts), real.segment(*prompts, candidates=True)
        assert (three.bitmaps.shape, three.scores.shape) == ((2, 3, 96, 128), (2, 3))
        assert three.logits.shape == (2, 3, 16, 16)
        rows, chosen = np.arange(2), three.scores.argmax(1)
        np.testing.assert_array_equal(best.scores, three.scores[rows, chosen])
        np.testing.assert_array_equal(best.logits, three.logits[rows, chosen])
        np.testing.assert_array_equal(best.bitmaps, three.bitmaps[rows, chosen])

    def test_prompts_of_one_object_have_no_order(self, real: Embedding) -> None:
        box, click = Box(76, 30, 112, 80), Points([(90, 50)])
        results = [
            real.segment(one) for one in (box + click, click + box, (click, box), Prompt.of([box, click]))
        ]
        for other in results[1:]:
            np.testing.assert_array_equal(other.logits, results[0].logits)
        assert not np.array_equal(real.segment(box).logits, results[0].logits)

    def test_more_objects_than_one_call_takes(self, real: Embedding) -> None:
        clicks = [Points([(x, 40)]) for x in range(70)]
        masks = real.segment(*clicks)
        assert len(masks) == 70
        np.testing.assert_allclose(masks.logits[69], real.segment(clicks[69]).logits[0], atol=1e-5)

    def test_a_mask_prompt_changes_the_answer(self, real: Embedding) -> None:
        first = real.segment(Points([(36, 44)]))
        second = real.segment(Points([(36, 44)]) + MaskPrompt(first.logits[0]), MaskPrompt(first.logits))
        assert len(second) == 2
        assert not np.array_equal(second.logits[0], first.logits[0])
        assert not np.array_equal(second.logits[1], second.logits[0])

    def test_the_same_call_gives_the_same_numbers(self, real: Embedding) -> None:
        first, second = (real.segment(Points([(36, 44)])) for _ in range(2))
        np.testing.assert_array_equal(first.logits, second.logits)
        np.testing.assert_array_equal(first.bitmaps, second.bitmaps)

    def test_coordinates_follow_the_shape_of_the_picture(self, fake: Fake) -> None:
        """Wide and tall pictures are stretched onto the square input, and masks back."""
        embedding = MaskModel(fake).embed(np.zeros((40, 400, 3), np.uint8))
        masks = embedding.segment(Box(200, 10, 300, 30))
        np.testing.assert_allclose(masks.boxes, [[200, 10, 300, 30]], atol=8)
        np.testing.assert_allclose(masks.areas, [2000], rtol=0.15)

    def test_the_threshold_is_a_logit(self, embedding: Embedding) -> None:
        areas = [
            int(embedding.segment(Points((60, 50)), threshold=t).areas[0]) for t in (-7.0, 0.0, 7.0, 9.0)
        ]
        assert areas[0] > areas[1] > areas[2] > areas[3] == 0

    def test_holes_and_specks(self, real: Embedding) -> None:
        raw = real.segment(Points([(36, 44)]))
        everything = 16 * 16
        filled = real.segment(Points([(36, 44)]), max_hole_area=everything)
        removed = real.segment(Points([(36, 44)]), max_speck_area=everything)
        assert (filled.areas[0], removed.areas[0]) == (96 * 128, 0)
        assert 0 < raw.areas[0] < 96 * 128
        np.testing.assert_array_equal(filled.logits, raw.logits)

    def test_logits_stay_in_the_official_range(self, fake: Fake, picture: np.ndarray) -> None:
        class Loud(Fake):
            def decode(self, features, prompts):  # type: ignore[no-untyped-def]
                decoded = super().decode(features, prompts)
                return decoded._replace(logits_BPMHW=decoded.logits_BPMHW * 100)

        masks = MaskModel(Loud()).embed(picture).segment(Points((36, 44)))
        assert np.abs(masks.logits).max() == LOGIT_LIMIT


class TestBadPrompts:
    @pytest.mark.parametrize(
        ("prompts", "message"),
        [
            ((), "no prompt"),
            ((Points([(129, 5)]),), "outside the picture"),
            ((Points([(5, -1)]),), "outside the picture"),
            ((Points([(5, 5)]), Box(100, 50, 140, 90)), "outside the picture"),
            ((MaskPrompt(np.zeros((16, 16))),), "this model wants"),
            (((),), "empty"),
            (((5, 5),), "Points"),
            (((Box(1, 2, 3, 4), Box(1, 2, 3, 4)),), "2 boxes for one object"),
        ],
    )
    def test_are_refused_before_anything_is_computed(
        self, fake: Fake, embedding: Embedding, prompts: tuple[object, ...], message: str
    ) -> None:
        with pytest.raises(PromptError, match=message) as caught:
            embedding.segment(*prompts)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
        assert fake.decoded == 0

    def test_the_border_belongs_to_the_picture(self, embedding: Embedding) -> None:
        assert len(embedding.segment(Points([(0, 0), (128, 96)]), Box(0, 0, 128, 96))) == 2

    @pytest.mark.parametrize(
        "option", [{"max_hole_area": -1}, {"max_speck_area": float("nan")}, {"threshold": float("inf")}]
    )
    def test_options_are_checked(self, fake: Fake, embedding: Embedding, option: dict[str, float]) -> None:
        with pytest.raises(InputError, match=next(iter(option))):
            embedding.segment(Points((5, 5)), **option)  # type: ignore[arg-type]
        assert fake.decoded == 0


class TestFiles:
    def test_a_saved_embedding_answers_the_same(
        self, real: Embedding, picture: np.ndarray, tmp_path: Path
    ) -> None:
        path = real.save(tmp_path / "scene.embedding")
        loaded = real_model().load_embedding(path)
        prompt = Box(76, 30, 112, 80)
        wanted, got = real.segment(prompt), loaded.segment(prompt)
        np.testing.assert_array_equal(got.logits, wanted.logits)
        np.testing.assert_array_equal(got.bitmaps, wanted.bitmaps)
        np.testing.assert_array_equal(got.image, picture)

    def test_the_picture_may_be_left_out(self, real: Embedding, tmp_path: Path) -> None:
        with_picture, without = tmp_path / "with", tmp_path / "without"
        real.save(with_picture)
        real.save(without, picture=False)
        assert with_picture.stat().st_size - without.stat().st_size >= 96 * 128 * 3
        loaded = real_model().load_embedding(without)
        assert (loaded.picture, loaded.size) == (None, (96, 128))
        assert loaded.segment(Points((5, 5))).image is None

    def test_other_weights_are_refused(self, real: Embedding, tmp_path: Path) -> None:
        path = real.save(tmp_path / "scene.embedding")
        with pytest.raises(InputError, match="other weights than this small-test"):
            real_model(seed=1).load_embedding(path)

    def test_another_input_size_is_refused(self, real: Embedding, tmp_path: Path) -> None:
        path = real.save(tmp_path / "scene.embedding")
        with pytest.raises(InputError, match="load the model with image_size=64"):
            real_model(image_size=96).load_embedding(path)

    @pytest.mark.parametrize("content", [b"", b"not safetensors at all", None])
    def test_other_files_are_refused(self, real: Embedding, tmp_path: Path, content: bytes | None) -> None:
        path = tmp_path / "file"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=str(path)):
            real_model().load_embedding(path)

    def test_a_cut_off_file_is_refused(self, real: Embedding, tmp_path: Path) -> None:
        path = real.save(tmp_path / "scene.embedding")
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(InputError, match="damaged"):
            real_model().load_embedding(path)

    def test_model_files_are_no_embeddings(self, tmp_path: Path) -> None:
        from maskwright.weights.load import save_checkpoint

        path = save_checkpoint(tmp_path / "m.safetensors", SMALL, SAM2(SMALL).state_dict())
        with pytest.raises(InputError, match=r"write it anew with Embedding\.save"):
            real_model().load_embedding(path)

    def test_a_folder_that_is_missing(self, real: Embedding, tmp_path: Path) -> None:
        with pytest.raises(OutputError):
            real.save(tmp_path / "absent" / "scene.embedding")


def test_the_representation_is_short(real: Embedding) -> None:
    assert repr(real) == "Embedding(size=(96, 128))"
    assert repr(replace(real, size=(1, 2))) == "Embedding(size=(1, 2))"
