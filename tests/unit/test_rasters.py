"""Reading by windows: every kind of file and sample, what becomes of it as RGB, and what cannot be read."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import maskwright as mw
from maskwright.io import raster_files
from maskwright.io.images import read_image
from maskwright.io.rasters import RasterOptions, open_raster, reduced_size

rasterio = pytest.importorskip("rasterio")
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

NOISE = np.random.default_rng(1).integers(0, 256, (130, 170, 3), np.uint8)


def written(path: Path, samples: np.ndarray, **profile: Any) -> Path:
    """A TIFF of samples (h, w, c)."""
    h, w, count = samples.shape
    profile = {"driver": "GTiff", "height": h, "width": w, "count": count, "dtype": samples.dtype} | profile
    with rasterio.open(path, "w", **profile) as file:
        file.write(samples.transpose(2, 0, 1))
    return path


def whole(source: Any, **options: Any) -> np.ndarray:
    raster = open_raster(source, RasterOptions(**options))
    h, w = raster.size
    rgb = raster.read(0, 0, w, h)
    raster.close()
    return rgb


class TestFiles:
    @pytest.mark.parametrize(
        "profile",
        [
            {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate", "BIGTIFF": "YES"},
            {"compress": "lzw", "interleave": "band"},
            {"blockysize": 130},
            {"driver": "PNG"},
            {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO"},
        ],
    )
    def test_windows_of_every_layout(self, tmp_path: Path, profile: dict[str, Any]) -> None:
        with closing(open_raster(written(tmp_path / "x", NOISE, **profile))) as raster:
            assert raster.size == (130, 170)
            for x0, y0, x1, y1 in ((0, 0, 170, 130), (50, 60, 70, 90), (169, 129, 170, 130)):
                np.testing.assert_array_equal(raster.read(x0, y0, x1, y1), NOISE[y0:y1, x0:x1])

    def test_reduced_it_is_averaged(self, tmp_path: Path) -> None:
        path = written(tmp_path / "x.tif", NOISE, tiled=True, blockxsize=64, blockysize=64)
        means = NOISE[10:130, 20:170].reshape(12, 10, 15, 10, 3).mean((1, 3))
        for source in (path, NOISE):
            with closing(open_raster(source)) as raster:
                assert np.abs(raster.read(20, 10, 170, 130, size=(12, 15)) - means).max() <= 1

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_what_lies_is_turned_upright(self, tmp_path: Path, orientation: int) -> None:
        path, exif = tmp_path / "x.png", Image.Exif()
        exif[0x112] = orientation
        Image.fromarray(NOISE).save(path, exif=exif)
        upright = read_image(path)
        assert upright.shape == ((130, 170, 3) if orientation < 5 else (170, 130, 3))
        with closing(open_raster(path)) as raster:
            assert raster.size == upright.shape[:2]
            np.testing.assert_array_equal(raster.read(7, 9, 40, 100), upright[9:100, 7:40])
            assert raster.read(0, 0, 100, 60, size=(6, 10)).shape == (6, 10, 3)

    def test_palettes_few_bits_and_white_for_zero(self, tmp_path: Path) -> None:
        path = tmp_path / "x.tif"
        picture = Image.fromarray(NOISE).quantize(20)
        picture.save(path)
        np.testing.assert_array_equal(whole(path), np.array(picture.convert("RGB")))
        with pytest.raises(mw.InputError, match="with a palette; leave the channels out"):
            open_raster(path, RasterOptions(channels=(1, 1, 1)))
        Image.fromarray(NOISE[..., 0] > 99).save(path)
        np.testing.assert_array_equal(whole(path)[..., 1], 255 * (NOISE[..., 0] > 99))
        written(path, NOISE[..., :1] >> 4, NBITS=4)
        np.testing.assert_array_equal(whole(path)[..., 2], (NOISE[..., 0] >> 4) * 17)
        written(path, NOISE[..., :1].astype(np.uint16), photometric="MINISWHITE")
        np.testing.assert_array_equal(whole(path, value_range=(0, 255))[..., 0], 255 - NOISE[..., 0])

    def test_where_it_lies_on_earth_is_kept(self, tmp_path: Path) -> None:
        place = rasterio.Affine(0.1, 0, 13.0, 0, -0.1, 52.0)
        path = written(tmp_path / "x.tif", NOISE, crs="EPSG:4326", transform=place)
        raster = open_raster(path)
        out = raster_files.write_blocks(
            tmp_path / "out.tif",
            (130, 170),
            "uint16",
            lambda x0, y0, x1, y1: np.full((y1 - y0, x1 - x0), 7, np.uint16),
            raster,
        )
        raster.close()
        with rasterio.open(out) as file:
            assert (file.crs, file.transform, file.dtypes) == ("EPSG:4326", place, ("uint16",))
            assert (file.read() == 7).all()


class TestSamples:
    """What samples of any kind look like, in a file and as an array."""

    def test_channels(self, tmp_path: Path) -> None:
        many = np.random.default_rng(2).integers(0, 256, (30, 40, 6), np.uint8)
        for count, shown in ((1, [0, 0, 0]), (2, [0, 0, 0]), (3, [0, 1, 2]), (6, [0, 1, 2])):
            path = written(tmp_path / "x.tif", many[..., :count])
            for source in (path, many[..., :count]):
                np.testing.assert_array_equal(whole(source), many[..., shown])
        for source in (path, many):
            np.testing.assert_array_equal(whole(source, channels=(5, 3, 2)), many[..., [4, 2, 1]])
            np.testing.assert_array_equal(whole(source, channels=6), many[..., [5, 5, 5]])
            with pytest.raises(mw.InputError, match="has no channel 7; its channels are 1 to 6"):
                open_raster(source, RasterOptions(channels=(7, 1, 1)))
        np.testing.assert_array_equal(whole(many[..., 0]), many[..., [0, 0, 0]])

    @pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32", "float64"])
    def test_a_given_range_is_a_straight_line(self, tmp_path: Path, dtype: str) -> None:
        samples = (
            np.linspace(-300, 5000, 130 * 170 * 3).reshape(130, 170, 3).clip(0 if "u" in dtype else -300)
        )
        samples = samples.astype(dtype)
        expected = np.rint((samples.astype(float) - 1000) * (255 / 3000)).clip(0, 255)
        for source in (written(tmp_path / "x.tif", samples), samples):
            np.testing.assert_array_equal(whole(source, value_range=(1000, 4000)), expected)

    @pytest.mark.parametrize("dtype", ["uint16", "float32"])
    def test_the_usual_stretch_is_the_same_in_all_windows_and_channels(
        self, tmp_path: Path, dtype: str
    ) -> None:
        ramp = np.linspace(1000, 3000, 170)[None, :, None] * np.ones((130, 1, 3)) - [0, 100, 200]
        ramp = ramp.astype(dtype)
        ramp[60, 80] = 60_000  # a few extremes do not matter
        for source in (written(tmp_path / "x.tif", ramp), ramp):
            with closing(open_raster(source)) as raster:
                part, all_of_it = raster.read(30, 20, 90, 50), raster.read(0, 0, 170, 130)
                np.testing.assert_array_equal(part, all_of_it[20:50, 30:90])
            low, high = np.percentile(ramp, (0.1, 99.9))
            expected = ((ramp.astype(float) - low) / (high - low) * 255).clip(0, 255)
            assert np.abs(all_of_it - expected).max() < 2.5
            assert (all_of_it[0, 100, 0] > all_of_it[0, 100, 2]).all()

    def test_what_is_missing_is_black(self, tmp_path: Path) -> None:
        samples = np.full((130, 170, 1), 500, np.float32)
        samples[:, 80:] = 900
        samples[:, :40] = -9999
        rgb = whole(written(tmp_path / "x.tif", samples, nodata=-9999))
        assert [np.unique(rgb[:, at]).tolist() for at in (0, 60, 100)] == [[0], [0], [255]]
        samples[:, :40] = np.nan
        samples[0, 0] = np.inf
        rgb = whole(samples)
        assert [np.unique(rgb[1:, at]).tolist() for at in (0, 60, 100)] == [[0], [0], [255]]
        assert (whole(np.full((5, 5), np.nan)) == 0).all()
        eight = NOISE.copy()
        eight[:50] = 255
        rgb = whole(written(tmp_path / "x.tif", eight, nodata=255))
        assert not rgb[:50].any()
        np.testing.assert_array_equal(rgb[50:], NOISE[50:])

    def test_arrays_are_read_where_they_are(self, tmp_path: Path) -> None:
        kept = np.memmap(tmp_path / "x.raw", np.uint16, "w+", shape=(900, 1200))
        kept[300:330, 600:630] = 4095
        with closing(open_raster(kept, RasterOptions(value_range=(0, 4095)))) as raster:
            assert raster.read(600, 300, 630, 330).min() == 255
            assert raster.read(0, 0, 1200, 900, size=(30, 40))[10, 20].tolist() == [255] * 3

        class Lazy:
            """As zarr and HDF5 are: windows by slicing, and nothing else."""

            shape, dtype = NOISE.shape, NOISE.dtype
            asked: tuple[slice, ...] = ()

            def __getitem__(self, window: tuple[slice, ...]) -> np.ndarray:
                self.asked = window
                return NOISE[window]

        lazy = Lazy()
        np.testing.assert_array_equal(open_raster(lazy).read(1, 2, 3, 4), NOISE[2:4, 1:3])
        assert lazy.asked == (slice(2, 4), slice(1, 3))
        assert whole(np.eye(9, dtype=bool)).max() == 255


class TestBadInput:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (None, "no such picture: .*; check the path"),
            (b"", "is empty \\(0 bytes\\)"),
            (b"not a picture at all", "is not a picture that can be read by windows; convert it to TIFF"),
        ],
    )
    def test_no_picture(self, tmp_path: Path, content: bytes | None, words: str) -> None:
        if content is not None:
            (tmp_path / "x.tif").write_bytes(content)
        with pytest.raises(mw.ImageError, match=words):
            open_raster(tmp_path / "x.tif")

    def test_other_things(self, tmp_path: Path) -> None:
        with pytest.raises(mw.ImageError, match="is a folder"):
            open_raster(tmp_path)
        for source in (b"abc", None, [[1, 2]]):
            with pytest.raises(mw.ImageError, match="pass the path of a file, or an array"):
                open_raster(source)
        (tmp_path / "x.vrt").write_text(
            "<VRTDataset rasterXSize='9' rasterYSize='9'><VRTRasterBand/></VRTDataset>"
        )
        with pytest.raises(mw.ImageError, match="VRT file; TIFF, JPEG 2000, PNG"):
            open_raster(tmp_path / "x.vrt")

    @pytest.mark.parametrize("layout", [{"tiled": True, "blockxsize": 64, "blockysize": 64}, {}])
    def test_broken_directories_and_truncated_files(self, tmp_path: Path, layout: dict[str, Any]) -> None:
        path = written(tmp_path / "x.tif", NOISE, compress="deflate", **layout)
        data = path.read_bytes()
        for broken in (
            data[:8],
            data[:150],
            data[:4] + b"\xff" * 4 + data[8:],
            data[:8] + b"\xff" * 60 + data[68:],
        ):
            path.write_bytes(broken)
            with pytest.raises(mw.ImageError, match="is damaged: .*; save or copy it again"):
                open_raster(path)
        path.write_bytes(data[: len(data) * 2 // 3])
        raster = open_raster(path)
        raster.read(0, 0, 10, 10)
        with pytest.raises(mw.ImageError, match="x.tif is damaged or truncated: .*; copy it again"):
            raster.read(0, 0, 170, 130)

    @pytest.mark.parametrize("ending", ["png", "jpg"])
    def test_truncated_pictures_of_other_kinds(self, tmp_path: Path, ending: str) -> None:
        path = tmp_path / f"x.{ending}"
        Image.fromarray(NOISE).save(path)
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(mw.ImageError, match="is damaged or truncated"):
            whole(path)

    def test_samples_and_shapes_that_are_no_picture(self, tmp_path: Path) -> None:
        path = written(tmp_path / "x.tif", np.zeros((9, 9, 1), np.complex64))
        for source in (path, np.zeros((9, 9), complex)):
            with pytest.raises(mw.ImageError, match="complex.*take their magnitude first"):
                open_raster(source)
        for shape, words in (((3, 40, 50), "channels first"), ((0, 5), "shape"), ((2, 3, 4, 5), "shape")):
            with pytest.raises(mw.ImageError, match=words):
                open_raster(np.zeros(shape, np.uint8))
        with pytest.raises(mw.ImageError, match="cannot be shown as a picture"):
            open_raster(np.array([["a"]]))

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"channels": (1, 2)}, "channels is .*three numbers"),
            ({"channels": (0, 1, 2)}, "the first channel is 1"),
            ({"channels": "rgb"}, "the first channel is 1"),
            ({"channels": 1.5}, "channels is 1.5"),
            ({"value_range": (5, 5)}, "the lower one first"),
            ({"value_range": (0, float("inf"))}, "value_range"),
            ({"value_range": 7}, "value_range is 7"),
            ({"memory_mib": 9}, "memory_mib is 9"),
        ],
    )
    def test_options_that_make_no_sense(self, options: dict[str, Any], words: str) -> None:
        with pytest.raises(mw.InputError, match=words):
            RasterOptions(**options)

    def test_strips_that_memory_does_not_suffice_for(self, tmp_path: Path) -> None:
        """40,000 pixels a side in two strips: any window of it needs one of them, decoded."""
        path = tmp_path / "x.tif"
        size = {"width": 40_000, "height": 40_000, "count": 3, "dtype": "uint8", "sparse_ok": True}
        with rasterio.open(path, "w", driver="GTiff", compress="deflate", blockysize=20_000, **size):
            pass
        with closing(open_raster(path)) as raster, pytest.raises(mw.ImageError) as raised:
            raster.check_window(1024)
        assert "stored in blocks of 40000 x 20000 pixels" in str(raised.value)
        assert "gdal_translate -co TILED=YES" in str(raised.value)
        with rasterio.open(path, "w", driver="GTiff", compress="deflate", blockysize=16, **size):
            pass
        with closing(open_raster(path)) as raster:
            raster.check_window(1024)
            with pytest.raises(mw.ImageError, match="more than the 1024 allowed"):
                raster.check_window(10_000)


def test_sizes_of_overviews() -> None:
    assert reduced_size((20_000, 10_000), 2048) == (2048, 1024)
    assert reduced_size((30, 40), 2048) == (30, 40)
    assert reduced_size((3, 90_000), 100) == (1, 100)


def test_without_rasterio(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    Image.fromarray(NOISE).save(tmp_path / "x.tif")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(mw.MissingExtraError, match=r"pip install 'maskwright\[tiles\]'"):
        open_raster(tmp_path / "x.tif")
    assert whole(NOISE).shape == NOISE.shape
