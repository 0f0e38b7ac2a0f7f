from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from maskwright.model.mask_decoder import ImageFeatures
from maskwright.model.sam2 import SAM2
from maskwright.runtime import batching
from maskwright.runtime.batching import ObjectPrompt, decode_chunks, full_size_chunks, object_prompt, pack
from maskwright.runtime.eager import Eager
from maskwright.runtime.fake import LOGIT, Fake
from maskwright.runtime.select import choose
from small import SMALL

CLICK = object_prompt(np.array([(10, 20)]), np.array([1]), None, None)
BOX = np.array([(5, 6), (40, 50)])


@pytest.fixture(scope="module")
def network() -> SAM2:
    torch.manual_seed(0)
    return SAM2(SMALL).eval()


@pytest.fixture(scope="module")
def eager(network: SAM2) -> Eager:
    return Eager(network, choose("cpu"))


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def features(eager: Eager, pixels: torch.Tensor) -> ImageFeatures:
    return eager.encode_image(pixels[:1])


def mask(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 4, (16, 16)).astype(np.float32)


class TestObjectPrompt:
    def test_a_click_is_followed_by_the_padding_point(self) -> None:
        assert CLICK.labels_K.tolist() == [1, -1]
        assert CLICK.points_K2.tolist() == [[10, 20], [0, 0]]

    def test_the_corners_of_a_box_come_first(self) -> None:
        both = object_prompt(np.array([(10, 20), (1, 2)]), np.array([1, 0]), BOX, None)
        assert both.labels_K.tolist() == [2, 3, 1, 0, -1]
        assert both.points_K2.tolist() == [[5, 6], [40, 50], [10, 20], [1, 2], [0, 0]]
        assert (both.points_K2.dtype, both.labels_K.dtype) == (np.float32, np.int64)

    def test_a_mask_alone_has_no_points(self) -> None:
        alone = object_prompt(None, None, None, mask(0))
        assert alone.points_K2.shape == (0, 2)
        assert alone.labels_K.shape == (0,)


class TestPack:
    @pytest.mark.parametrize(("clicks", "bucket"), [(1, 2), (2, 4), (3, 4), (4, 8), (7, 8), (8, 16)])
    def test_points_are_padded_to_a_power_of_two(self, clicks: int, bucket: int) -> None:
        many = object_prompt(np.ones((clicks, 2)), np.ones(clicks), None, None)
        packed = pack([CLICK, many])
        assert packed.points_BPK2.shape == (1, 2, bucket, 2)
        assert packed.labels_BPK[0, 0].tolist() == [1, -1] + [-2] * (bucket - 2)
        assert packed.labels_BPK[0, 1].tolist() == [1] * clicks + [-1] + [-2] * (bucket - clicks - 1)
        assert packed.masks_BPHW is None

    def test_a_mask_alone_is_all_padding(self) -> None:
        packed = pack([object_prompt(None, None, None, mask(0))])
        assert packed.labels_BPK.tolist() == [[[-2, -2]]]
        assert packed.mask_given_BP is None

    def test_absent_masks_are_marked(self) -> None:
        packed = pack([CLICK, CLICK._replace(mask_HW=mask(0))])
        assert packed.masks_BPHW is not None
        assert packed.mask_given_BP is not None
        assert packed.mask_given_BP.tolist() == [[False, True]]
        np.testing.assert_array_equal(packed.masks_BPHW[0, 1], mask(0))


class TestDecodeChunks:
    def test_objects_of_every_kind_share_a_batch(self, eager: Eager, features: ImageFeatures) -> None:
        """Together or alone, each object gets the same masks."""
        objects = [
            CLICK,
            object_prompt(None, None, BOX, None),
            object_prompt(np.array([(3, 4), (50, 60), (30, 9)]), np.array([0, 1, 1]), BOX, mask(1)),
            object_prompt(None, None, None, mask(2)),
        ]
        (together,) = decode_chunks(eager, features, objects)
        for row, one in enumerate(objects):
            (alone,) = decode_chunks(eager, features, [one])
            for a, b in zip(together, alone, strict=True):
                torch.testing.assert_close(a[:, row], b[:, 0], atol=1e-5, rtol=1e-5)

    def test_a_call_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batching, "OBJECTS_PER_CALL", 2)
        fake = Fake(SMALL)
        features = fake.encode_image(torch.zeros(1, 3, 64, 64))
        objects = [object_prompt(np.array([(x, 32)]), np.array([1]), None, None) for x in (8, 16, 24, 32, 40)]
        chunks = list(decode_chunks(fake, features, objects))
        assert [len(chunk.iou_BPM[0]) for chunk in chunks] == [2, 2, 1]
        assert [int((chunk.logits_BPMHW[0, -1, 0] > 0).any(0).float().argmax()) for chunk in chunks] == [
            2,
            6,
            8,
        ]


class TestFullSizeChunks:
    def test_any_step_gives_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        logits = torch.from_numpy(np.stack([mask(seed) for seed in range(5)]))
        options = {"max_hole_area": 3, "max_speck_area": 2, "threshold": 0.5}
        ((rows, whole),) = full_size_chunks(logits, (30, 20), **options)
        assert (rows, whole.shape) == (slice(0, 5), (5, 30, 20))
        monkeypatch.setattr(batching, "PIXELS_PER_CALL", 2 * 30 * 20 + 1)
        parts = list(full_size_chunks(logits, (30, 20), **options))
        assert [rows for rows, _ in parts] == [slice(0, 2), slice(2, 4), slice(4, 5)]
        torch.testing.assert_close(torch.cat([part for _, part in parts]), whole, atol=0, rtol=0)

    def test_at_least_one_mask_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batching, "PIXELS_PER_CALL", 1)
        logits = torch.zeros(3, 16, 16)
        chunks = list(full_size_chunks(logits, (9, 9), max_hole_area=0, max_speck_area=0, threshold=0))
        assert len(chunks) == 3


class TestEager:
    def test_nothing_learns_and_nothing_varies(self, eager: Eager, features: ImageFeatures) -> None:
        decoded, again = (eager.decode(features, pack([CLICK])) for _ in range(2))
        assert not any(part.requires_grad for part in decoded)
        for a, b in zip(decoded, again, strict=True):
            torch.testing.assert_close(a, b, atol=0, rtol=0)

    def test_a_batch_gives_what_each_picture_gives(self, eager: Eager, pixels: torch.Tensor) -> None:
        batch = eager.encode_image(pixels)
        for row in range(2):
            for a, b in zip(batch.levels, eager.encode_image(pixels[row : row + 1]).levels, strict=True):
                torch.testing.assert_close(a[row], b[0], atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
    def test_half_precision_comes_near(
        self, network: SAM2, eager: Eager, pixels: torch.Tensor, features: ImageFeatures, dtype: str
    ) -> None:
        half = Eager(network, choose("cpu", dtype))
        cheap = half.encode_image(pixels[:1])
        assert {level.dtype for level in cheap.levels} == {choose("cpu", dtype).dtype}
        assert all(parameter.dtype is torch.float32 for parameter in network.parameters())
        decoded, exact = half.decode(cheap, pack([CLICK])), eager.decode(features, pack([CLICK]))
        assert {part.dtype for part in decoded} == {torch.float32}
        error = (decoded.logits_BPMHW - exact.logits_BPMHW).abs().max() / exact.logits_BPMHW.abs().max()
        assert 0 < error < 0.05

    def test_the_fingerprint_follows_the_weights(self, network: SAM2, eager: Eager) -> None:
        changed = SAM2(SMALL)
        changed.load_state_dict(network.state_dict())
        assert Eager(changed, choose("cpu")).fingerprint() == eager.fingerprint()
        with torch.no_grad():
            changed.no_memory += 1e-3
        assert Eager(changed, choose("cpu")).fingerprint() != eager.fingerprint()

    def test_the_fingerprint_ignores_name_and_input_size(self, network: SAM2, eager: Eager) -> None:
        other = SAM2(replace(SMALL.at(96), name="renamed"))
        other.load_state_dict(network.state_dict())
        assert Eager(other, choose("cpu")).fingerprint() == eager.fingerprint()


class TestFake:
    def draw(self, *objects: ObjectPrompt) -> torch.Tensor:
        fake = Fake(SMALL)
        features = fake.encode_image(torch.zeros(1, 3, 64, 64))
        return fake.decode(features, pack(objects)).logits_BPMHW[0]

    def test_shapes_are_those_of_the_network(self, features: ImageFeatures, eager: Eager) -> None:
        fake = Fake(SMALL)
        pretended = fake.encode_image(torch.zeros(1, 3, 64, 64))
        assert [level.shape for level in pretended.levels] == [level.shape for level in features.levels]
        real, drawn = eager.decode(features, pack([CLICK])), fake.decode(pretended, pack([CLICK]))
        assert [part.shape for part in drawn] == [part.shape for part in real]

    def test_clicks_are_discs(self) -> None:
        (drawn,) = self.draw(object_prompt(np.array([(32, 32), (40, 32)]), np.array([1, 0]), None, None))
        assert drawn[3, 8, 5] == LOGIT
        assert drawn[3, 8, 10] == -LOGIT

    def test_boxes_are_filled(self) -> None:
        (drawn,) = self.draw(object_prompt(None, None, np.array([(8, 16), (24, 48)]), None))
        expected = torch.full((16, 16), -LOGIT)
        expected[4:12, 2:6] = LOGIT
        torch.testing.assert_close(drawn[2], expected)

    def test_masks_are_repeated(self) -> None:
        with_mask, without = self.draw(object_prompt(None, None, None, mask(3)), CLICK)
        np.testing.assert_array_equal(with_mask[1] > 0, mask(3) > 0)
        assert (without[1] > 0).sum() < 16
