from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import maskwright as mw
from maskwright.mask_model import MaskModel
from maskwright.model.sam2 import SAM2
from maskwright.runtime.fake import Fake
from maskwright.weights.load import save_checkpoint
from small import SMALL


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "small.safetensors"
    return save_checkpoint(path, SMALL, SAM2(SMALL).state_dict())


@pytest.fixture(scope="module")
def model(model_file: Path) -> MaskModel:
    return mw.load(model_file, device="cpu")


class TestLoad:
    def test_a_file(self, model: MaskModel) -> None:
        assert model.name == "small-test"
        assert (model.device, model.dtype) == (torch.device("cpu"), torch.float32)
        assert model.config == SMALL
        assert not model.image_only
        assert repr(model) == "MaskModel('small-test', device='cpu', dtype='float32', image_size=64)"

    def test_a_path_as_text(self, model_file: Path) -> None:
        assert mw.load(str(model_file), device="cpu").name == "small-test"

    def test_another_input_size(self, model_file: Path, picture: np.ndarray) -> None:
        model = mw.load(model_file, device="cpu", image_size=128)
        masks = model.embed(picture).segment(mw.Points((36, 44)))
        assert masks.logits.shape == (1, 32, 32)
        assert masks.bitmaps.shape == (1, 96, 128)

    def test_another_input_size_for_videos(
        self, model: MaskModel, tmp_path: Path, picture: np.ndarray
    ) -> None:
        path = tmp_path / "two.safetensors"
        network = model.runtime._network  # type: ignore[attr-defined]
        save_checkpoint(path, replace(SMALL, image_size=96, video_size=64), network.state_dict())
        two, prompt = mw.load(path, device="cpu"), mw.Box(76, 30, 112, 80)
        assert two.embed(picture).segment(prompt).logits.shape == (1, 24, 24)
        assert two.runtime.fingerprint() == two.video_runtime.fingerprint()
        with two.session() as session, model.session() as usual:
            frames = [one.push_prompted(picture, {1: prompt}) for one in (session, usual)]
        np.testing.assert_array_equal(frames[0].bitmaps, frames[1].bitmaps)
        one = mw.load(path, device="cpu", image_size=64)
        assert one.runtime is one.video_runtime
        assert one.config.image_size == 64

    def test_another_dtype(self, model_file: Path, model: MaskModel, picture: np.ndarray) -> None:
        cheap = mw.load(model_file, device="cpu", dtype="bfloat16")
        assert cheap.dtype is torch.bfloat16
        prompt = mw.Box(76, 30, 112, 80)
        got, exact = cheap.embed(picture).segment(prompt), model.embed(picture).segment(prompt)
        assert got.logits.dtype == np.float32
        np.testing.assert_allclose(got.logits, exact.logits, atol=0.1 * np.abs(exact.logits).max())

    def test_the_bundled_model_is_the_default(self, nano_file: Path, picture: np.ndarray) -> None:
        model = mw.load(device="cpu")
        assert model.name == "nano"
        masks = model.embed(picture).segment(mw.Box(14, 22, 59, 67))
        y, x = np.mgrid[:96, :128]
        disc = (x - 36) ** 2 + (y - 44) ** 2 <= 22**2
        assert (masks.bitmaps[0] & disc).sum() / (masks.bitmaps[0] | disc).sum() > 0.7

    def test_a_catalogue_name_comes_before_a_file(
        self, model_file: Path, nano_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "nano").write_bytes(model_file.read_bytes())
        assert mw.load("nano", device="cpu").name == "nano"
        assert mw.load(Path("nano"), device="cpu").name == "small-test"

    def test_an_unknown_name(self) -> None:
        with pytest.raises(mw.UnknownModelError, match=r"did you mean 'sam2\.1-tiny'"):
            mw.load("sam2.1-tini")

    def test_a_file_that_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(mw.UnknownModelError, match="no model or model file"):
            mw.load(tmp_path / "absent.pt")

    def test_a_file_that_is_no_model(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.pt"
        path.write_text("hello")
        with pytest.raises(mw.CheckpointError):
            mw.load(path)

    @pytest.mark.parametrize(
        "options", [{"device": "gpu"}, {"dtype": "int4"}, {"image_size": 100}, {"image_size": 0}]
    )
    def test_impossible_options(self, model_file: Path, options: dict[str, object]) -> None:
        with pytest.raises(mw.InputError):
            mw.load(model_file, **options)  # type: ignore[arg-type]

    def test_the_catalogue_is_listed(self) -> None:
        assert mw.models()[0] == "nano"
        assert len(mw.models()) == 9


class TestEmbed:
    def test_every_kind_of_source(self, model: MaskModel, picture: np.ndarray, photo: Path) -> None:
        image = Image.fromarray(picture)
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        alpha = np.dstack([picture, np.full((96, 128), 9, np.uint8)])
        wanted = model.embed(picture)
        for source in (photo, str(photo), buffer.getvalue(), image, alpha, picture / np.float32(255)):
            got = model.embed(source)
            assert got.size == (96, 128)
            np.testing.assert_array_equal(got.picture, picture)
            for a, b in zip(got.features, wanted.features, strict=True):
                torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)

    def test_the_caller_may_reuse_the_array(self, model: MaskModel, picture: np.ndarray) -> None:
        mine = picture.copy()
        embedding = model.embed(mine)
        mine[:] = 0
        np.testing.assert_array_equal(embedding.picture, picture)

    @pytest.mark.parametrize("bad", [b"", b"text", "absent.jpg", np.zeros((0, 4, 3), np.uint8), 7])
    def test_bad_pictures(self, model: MaskModel, bad: object) -> None:
        with pytest.raises(mw.ImageError):
            model.embed(bad)  # type: ignore[arg-type]

    def test_batches_agree_with_single_pictures(self, model: MaskModel, picture: np.ndarray) -> None:
        pictures = [picture, picture[:50], picture[:, ::2]]
        batch = model.embed_batch(pictures, batch_size=2)
        assert [one.size for one in batch] == [(96, 128), (50, 128), (96, 64)]
        for one, source in zip(batch, pictures, strict=True):
            for a, b in zip(one.features.levels, model.embed(source).features.levels, strict=True):
                torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
                assert a.untyped_storage().nbytes() == a.nbytes

    def test_an_empty_batch(self, model: MaskModel) -> None:
        assert model.embed_batch([]) == []

    def test_the_batch_size_is_checked(self, model: MaskModel, picture: np.ndarray) -> None:
        with pytest.raises(mw.InputError, match="batch_size is 0"):
            model.embed_batch([picture], batch_size=0)


class TestSegmentBatch:
    def test_each_picture_has_its_own_prompts(self, model: MaskModel, picture: np.ndarray) -> None:
        prompts = [mw.Points((36, 44)), [mw.Box(76, 30, 112, 50), mw.Points((5, 5)) + mw.Box(1, 2, 30, 40)]]
        first, second = model.segment_batch([picture, picture[:50]], prompts, candidates=True, batch_size=1)
        assert (first.bitmaps.shape, second.bitmaps.shape) == ((1, 3, 96, 128), (2, 3, 50, 128))
        wanted = model.embed(picture[:50]).segment(*prompts[1], candidates=True)  # type: ignore[misc]
        np.testing.assert_allclose(second.logits, wanted.logits, atol=1e-5)

    def test_options_reach_every_picture(self, picture: np.ndarray) -> None:
        model = MaskModel(Fake())
        prompts = [mw.Points((36, 44)), mw.Points((36, 44))]
        cleaned = model.segment_batch([picture, picture], prompts, max_speck_area=32 * 32)
        assert [int(masks.areas[0]) for masks in cleaned] == [0, 0]
        strict = model.segment_batch([picture, picture], prompts, threshold=9)
        assert [int(masks.areas[0]) for masks in strict] == [0, 0]

    def test_mistakes_are_found_before_anything_is_encoded(self, picture: np.ndarray) -> None:
        fake = Fake()
        model = MaskModel(fake)
        with pytest.raises(mw.PromptError, match="1 prompts for 2 pictures"):
            model.segment_batch([picture, picture], [mw.Points((1, 1))])
        with pytest.raises(mw.PromptError):
            model.segment_batch([picture, picture], [mw.Points((1, 1)), [(5, 5)]])  # type: ignore[list-item]
        assert fake.encoded == 0


def test_threads_share_a_model(model: MaskModel, picture: np.ndarray) -> None:
    clicks = [mw.Points((x, 50)) for x in range(10, 110, 10)]
    embedding = model.embed(picture)
    wanted = [embedding.segment(click).logits for click in clicks]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda click: model.embed(picture).segment(click).logits, clicks))
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
