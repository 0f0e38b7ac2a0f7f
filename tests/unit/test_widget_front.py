"""The widgets as a notebook has them, without a page: traits, messages, and what stands in for them."""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import maskwright as mw
import maskwright.widget
from maskwright.mask_model import MaskModel
from maskwright.runtime.fake import Fake

pytest.importorskip("anywidget", reason="needs anywidget: the extra notebook")

from maskwright.widget import PhotoWidget, VideoWidget

FRAMES = np.full((20, 96, 128, 3), 200, np.uint8)
DISC, BOX = mw.Points([(36, 44)]), mw.Box(70, 20, 120, 90)
PAGE = Path(maskwright.widget.__file__).parent


@pytest.fixture
def model() -> MaskModel:
    return MaskModel(Fake())


class Page:
    """What a page would have sent and got."""

    def __init__(self, widget: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.widget, self.got = widget, []
        monkeypatch.setattr(widget, "send", lambda content, buffers=None: self.got.append((content, buffers)))

    def ask(self, kind: str, **what: Any) -> dict[str, Any]:
        message = {"kind": kind, "request": len(self.got), "view": "v", **what}
        self.widget._handle_custom_msg(message, [])
        content, self.buffers = self.got[-1]
        assert (content["reply"], content["view"]) == (message["request"], "v")
        reply: dict[str, Any] = content
        return reply


def test_a_click_on_the_page_is_a_mask_in_the_next_cell(
    model: MaskModel, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    widget = PhotoWidget(picture, model)
    seen: list[Any] = []
    widget.observe(lambda change: seen.append(change["new"]), "prompts")
    page = Page(widget, monkeypatch)
    assert "error" not in page.ask("click", x=36, y=44, label=1)
    assert seen == [{"object 1": mw.Prompt(points=DISC)}]
    assert np.array_equal(widget.masks.bitmaps, model.embed(picture).segment(DISC).bitmaps)
    assert np.array_equal(widget["object 1"].bitmaps, widget.masks.bitmaps)
    (item,) = widget._masks["items"]
    assert len(item["data"]) < 500
    assert item["area"] == widget.masks.areas[0]
    page.ask("undo")
    assert widget.prompts == {}
    assert len(widget.masks) == 0
    with pytest.raises(mw.InputError, match="pointed at"):
        widget["object 1"]


def test_prompts_set_from_python_show_on_the_page(model: MaskModel, picture: np.ndarray) -> None:
    widget = PhotoWidget(picture, model, names=["disc", "sky"])
    widget.prompts = {"disc": DISC, "box": BOX}
    assert widget.names == ("disc", "box")
    assert [one.name for one in widget.objects] == ["disc", "box", "sky"]
    assert [one["name"] for one in widget._state["objects"]] == ["disc", "box", "sky"]
    assert [one["object"] for one in widget._masks["items"]] == [1, 3]
    assert len(widget.masks) == 2
    widget.undo()
    assert widget.prompts == {}
    widget.redo()
    assert widget.prompts == {"disc": mw.Prompt(points=DISC), "box": mw.Prompt(box=BOX)}


@pytest.mark.parametrize(
    "prompts", [{"disc": mw.Points([(36, 4400)])}, {"disc": 3}, {" ": DISC}, {"disc": {2: DISC}}]
)
def test_bad_prompts_are_an_error_at_once_and_change_nothing(
    model: MaskModel, picture: np.ndarray, prompts: Any
) -> None:
    widget = PhotoWidget(picture, model, prompts={"disc": DISC})
    with pytest.raises(mw.InputError):
        widget.prompts = prompts
    assert widget.prompts == {"disc": mw.Prompt(points=DISC)}
    with pytest.raises(mw.InputError):
        PhotoWidget(picture, model, prompts=prompts)


def test_errors_go_to_the_page_that_asked(
    model: MaskModel, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    widget = PhotoWidget(picture, model)
    page = Page(widget, monkeypatch)
    assert "outside the picture" in page.ask("click", x=36, y=4400, label=1)["error"]
    assert "nonsense" in page.ask("nonsense")["error"]
    monkeypatch.setattr(widget._desk, "answer", lambda content: 1 / 0)
    assert "ZeroDivisionError" in page.ask("click", x=36, y=44, label=1)["error"]
    assert "failed" in caplog.text
    widget._handle_custom_msg("rubbish", [])


def test_bad_pictures_and_models_are_errors_in_python(picture: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(mw.ImageError, match="no such picture"):
        PhotoWidget(tmp_path / "missing.png", MaskModel(Fake()))
    with pytest.raises(mw.UnknownModelError):
        PhotoWidget(picture, "no-such-model")
    with pytest.raises(mw.SourceError, match="no such video"):
        VideoWidget(tmp_path / "missing.mp4", MaskModel(Fake()))


def test_an_embedding_is_not_made_again(model: MaskModel, picture: np.ndarray) -> None:
    embedding = model.embed(picture)
    widget = PhotoWidget(embedding, prompts={"disc": DISC})
    assert model.runtime.encoded == 1  # type: ignore[attr-defined]
    assert len(widget.masks) == 1


def test_without_a_page_there_is_a_picture_and_a_line(model: MaskModel, picture: np.ndarray) -> None:
    widget = PhotoWidget(picture, model, prompts={"disc": DISC})
    data, _ = widget._repr_mimebundle_()
    assert data["text/plain"] == "PhotoWidget(96 x 128, disc)"
    assert "application/vnd.jupyter.widget-view+json" in data
    with Image.open(BytesIO(data["image/png"])) as shown:
        assert shown.size == (128, 96)


def test_a_film_is_followed_without_a_page(model: MaskModel) -> None:
    widget = VideoWidget(FRAMES, model, prompts={"disc": DISC})
    masks = widget.track()
    assert masks is widget.masks
    assert list(masks) == list(range(20))
    assert widget.object_ids() == {"disc": 1}
    assert masks[7][1].area > 0
    widget.frame = 12
    assert widget._picture["frame"] == 12
    assert len(widget._masks["items"]) == 1
    widget.frame = 900
    assert widget.frame == 19
    widget.prompts = {"disc": {0: DISC, 5: mw.Points([(90, 50)])}}
    assert widget.prompts["disc"].keys() == {0, 5}
    widget.close()


def test_a_film_is_followed_in_the_background(model: MaskModel, monkeypatch: pytest.MonkeyPatch) -> None:
    widget = VideoWidget(FRAMES, model)
    page = Page(widget, monkeypatch)
    assert "click on an object" in page.ask("track")["error"]
    page.ask("click", x=36, y=44, label=1)
    page.ask("track")
    widget._desk._run.wait(60)
    assert list(widget.masks) == list(range(20))  # although no page has looked in yet
    page.ask("status", follow=True)
    assert widget.frame == 19
    assert widget._state["film"]["covered"] == [[0, 19]]
    page.ask("show", frame=3)
    assert widget._picture["frame"] == 3
    page.ask("window", x0=0, y0=0, x1=20, y1=20, side=400)
    assert page.buffers[0].startswith(b"\xff\xd8")
    widget.close()


def test_state_is_json_of_plain_numbers(model: MaskModel, picture: np.ndarray) -> None:
    import json

    widget = PhotoWidget(picture, model, prompts={"both": DISC + BOX})
    assert json.loads(json.dumps(widget._state)) == widget._state
    assert widget._state["objects"][0]["prompts"] == {
        "0": {"points": [[36.0, 44.0, 1]], "box": [70.0, 20.0, 120.0, 90.0]}
    }


def test_importing_is_light_and_a_missing_package_names_the_extra() -> None:
    script = """
import sys
import maskwright.widget as w
assert "torch" not in sys.modules and "anywidget" not in sys.modules
sys.modules["anywidget"] = None
try:
    w.PhotoWidget
except w.MissingExtraError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 'pip install "maskwright[notebook]"' in done.stdout


def test_the_page_fetches_nothing_from_elsewhere() -> None:
    script, style = ((PAGE / name).read_text(encoding="utf-8") for name in ("widget.js", "widget.css"))
    assert "export default { render }" in script
    for text in (script, style):
        assert "http" not in text
        assert "import " not in text
        assert "url(" not in text
