"""Results of the command line as annotated pictures again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from annotated import disc, ring
from maskwright.errors import InputError, SourceError
from maskwright.interop import export, read_coco, read_finished
from maskwright.interop.finished import video_name
from maskwright.io.sinks import FrameLog, LogHeader
from maskwright.pixels import rle
from tracked import SIZE, make_video, numbers, scene, square, tracked


def make_log(path, indices=(0, 1, 2, 5), source="street.mp4"):
    with FrameLog(path, LogHeader(source, SIZE, 25.0)) as log:
        for index in indices:
            seen = square(4 + index, 8, 16)
            log.write(tracked(index, {3: seen, 9: np.zeros(SIZE, bool)}, time=index / 25))
    return path


def results(size, bitmaps, file, **more):
    rows = [
        {"id": row + 1, "score": 0.9 - row / 10, "segmentation": code}
        for row, code in enumerate(rle.encode(np.stack(bitmaps)) if bitmaps else [])
    ]
    return {"image": {"file": str(file), "height": size[0], "width": size[1]}, "objects": rows, **more}


def test_a_log_of_tracking(tmp_path):
    finished = read_finished(make_log(tmp_path / "street-tracked.jsonl"))
    assert (finished.kind, finished.total) == ("track", 4)
    for _ in range(2):
        found = list(finished)
        assert [one.name for one in found] == [f"street/0000{index}.jpg" for index in (0, 1, 2, 5)]
        assert [(one.frame, one.time_s) for one in found] == [(0, 0), (1, 0.04), (2, 0.08), (5, 0.2)]
        assert [[item.id for item in one.annotations] for one in found] == [[3]] * 4  # 9 is never seen
        assert np.array_equal(found[3].annotations[0].bitmap(), square(9, 8, 16))
        assert found[0].read is None
    with (tmp_path / "street-tracked.jsonl").open("ab") as file:
        file.write(b'{"frame": 6, "ti')
    assert read_finished(tmp_path / "street-tracked.jsonl").total == 4
    assert len(list(read_finished(tmp_path / "street-tracked.jsonl"))) == 4


@pytest.mark.parametrize("indices", [(0, 3, 4, 9), (9, 5, 5, 0)])
def test_pixels_of_a_video(tmp_path, indices):
    make_video(tmp_path / "street.mp4", audio=None)
    finished = read_finished(make_log(tmp_path / "a.jsonl", indices), tmp_path / "street.mp4")
    assert numbers([one.pixels() for one in finished]) == list(indices)


def test_pixels_and_names_of_a_folder(tmp_path):
    folder = tmp_path / "walk"
    folder.mkdir()
    for index in range(4):
        Image.fromarray(scene(index)).save(folder / f"img{index + 8}.png")
    found = list(read_finished(make_log(tmp_path / "a.jsonl", (1, 3), "walk"), folder))
    assert [one.name for one in found] == ["walk/img9.png", "walk/img11.png"]
    finished = read_finished(tmp_path / "a.jsonl", folder)
    for one, index in zip(finished, (1, 3), strict=True):
        assert np.array_equal(one.pixels(), scene(index))


def test_another_video_than_the_one_tracked(tmp_path):
    make_video(tmp_path / "short.mp4", audio=None, seconds=0.5)
    finished = read_finished(make_log(tmp_path / "a.jsonl", (9,)), tmp_path / "short.mp4")
    with pytest.raises(SourceError, match="has no frame 9; is it the video"):
        next(iter(finished)).pixels()


def test_one_picture(tmp_path):
    folder = tmp_path / "truck-masks"
    folder.mkdir()
    photo = tmp_path / "truck.jpg"
    content = results((120, 160), [ring(), disc(20, 20, 9)], photo)
    (folder / "results.json").write_text(json.dumps(content, indent=1))
    for path in (folder, folder / "results.json"):
        finished = read_finished(path)
        (one,) = finished
        assert (finished.kind, finished.total, one.name) == ("picture", 1, "truck.jpg")
        assert [item.score for item in one.annotations] == [0.9, 0.8]
        assert np.array_equal(one.annotations[0].bitmap(), ring())
        assert one.read is None
    Image.fromarray(np.zeros((120, 160, 3), np.uint8)).save(photo)
    assert next(iter(read_finished(folder))).pixels().shape == (120, 160, 3)
    assert next(iter(read_finished(folder, tmp_path / "moved.jpg"))).read is not None


def test_candidates_give_the_best_mask(tmp_path):
    content = results((120, 160), [ring(), disc(20, 20, 9)], "a.jpg")
    content["objects"][1] |= {"id": 1, "score": 0.95}
    (tmp_path / "results.json").write_text(json.dumps(content))
    ((item,),) = (one.annotations for one in read_finished(tmp_path))
    assert np.array_equal(item.bitmap(), disc(20, 20, 9))


def folder_of_pictures(tmp_path):
    out = tmp_path / "photos-masks"
    out.mkdir()
    rows = [{"format": "maskwright-automasks", "version": 1, "source": str(tmp_path / "photos")}]
    for name, bitmaps in (("a", [ring()]), ("b", [])):
        content = results((120, 160), bitmaps, tmp_path / f"photos/{name}.jpg")
        (out / f"{name}.json").write_text(json.dumps(content))
        rows.append({"file": f"{name}.jpg", "name": name, "size": [120, 160]})
    rows += [
        {"file": "c.jpg", "error": "empty"},
        {"file": "d.jpg", "error": "x"},
        {"file": "b.jpg", "name": "b"},
    ]
    (out / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"fi')
    return out


def test_a_folder_of_pictures(tmp_path):
    out = folder_of_pictures(tmp_path)
    finished = read_finished(out)
    assert (finished.kind, finished.total) == ("folder", 2)
    assert [(one.name, len(one.annotations)) for one in finished] == [("a.jpg", 1), ("b.jpg", 0)]
    assert export(read_finished(out / "log.jsonl"), tmp_path / "a.json") == 2
    assert [one.name for one in read_coco(tmp_path / "a.json")] == ["a.jpg", "b.jpg"]
    (out / "b.json").unlink()
    with pytest.raises(InputError, match=r"cannot read .*b\.json"):
        list(read_finished(out))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not JSON"),
        ("no", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"images": []}', "no result of maskwright"),
        ('{"image": {"file": "a", "height": 3}, "objects": []}', "it lacks 'width'"),
        (
            '{"image": {"file": "a", "height": 3, "width": 3}, "objects": [{"id": 1, "score": 1}]}',
            "it lacks 'segmentation'",
        ),
    ],
)
def test_what_is_no_result(tmp_path, content, words):
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(InputError, match=words):
        list(read_finished(tmp_path / "results.json"))


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match="cannot read .*; check the path"):
        read_finished(tmp_path / "missing.jsonl")
    with pytest.raises(InputError, match="neither results.json nor log.jsonl"):
        read_finished(tmp_path)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("street.mp4", "street"),
        ("street.v2.MOV", "street.v2"),
        ("clip.01", "clip.01"),
        ("walks/rome/*.jpg", "rome"),
        ("*.jpg", "video"),
        ("rtsp://host:554/live?x=1", "live"),
        ("camera 0", "camera 0"),
        ("..", "video"),
        ("", "video"),
    ],
)
def test_what_a_video_is_called(source, name):
    assert video_name(source) == name
