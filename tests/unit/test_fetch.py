"""Downloads against a real HTTP server on this machine that can be told to misbehave."""

import hashlib
import json
import os
import shutil
import threading
import urllib.parse
from collections import namedtuple
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from maskwright.errors import CheckpointError, DownloadError, UnknownModelError
from maskwright.weights import catalog, download, fetch

BODY = bytes(range(256)) * 1200
SHA256 = hashlib.sha256(BODY).hexdigest()
PATH = "/092824/sam2.1_hiera_tiny.pt"
HUB_PATH = "/facebook/sam2.1-hiera-tiny/resolve/main/sam2.1_hiera_tiny.pt"
COMMIT = "0123456789abcdef0123456789abcdef01234567"

Request = namedtuple("Request", "method path range sent")


class Server(ThreadingHTTPServer):
    """Serves ``files`` (path -> bytes) with ranges. ``script`` holds one misbehaviour per coming GET."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {PATH: BODY}
        self.etag = '"first"'
        self.script = []
        self.log = []
        self.gate = threading.Event()
        self.gate.set()

    def handle_error(self, request, client_address):
        """A client that hangs up early is part of these tests."""

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def gets(self):
        return [request for request in self.log if request.method == "GET"]


class Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        body = self.server.files.get(urllib.parse.unquote(self.path))
        self.server.log.append(Request("HEAD", self.path, None, 0))
        self._head(404 if body is None else 200, len(body or b""))

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.gate.wait(10)
        trick = server.script.pop(0) if server.script else None
        body = server.files.get(urllib.parse.unquote(self.path))
        start, status = 0, 200
        if body is None or isinstance(trick, int):
            body, status = b"no such luck", trick or 404
        elif asked and trick != "ignore range" and self.headers.get("If-Range", server.etag) == server.etag:
            start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
        if trick == "wrong place":
            start = 1
        if trick == "page":
            body = b"<html>please log in</html>"
        sent = body[start:]
        if trick == "cut":
            sent = sent[: len(sent) * 2 // 5]
        server.log.append(Request("GET", self.path, asked, len(sent)))
        if not sent:
            self._head(416, 0, {"Content-Range": f"bytes */{len(body)}"})
            return
        extra = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if status == 206 else {}
        if trick == "page":
            extra["Content-Type"] = "text/html; charset=utf-8"
        self._head(status, len(body) - start, extra)
        if trick == "damage":
            sent = sent[:-1] + b"!"
        self.wfile.write(sent)

    def _head(self, status, length, extra=None):
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("Content-Type", (extra or {}).pop("Content-Type", "application/octet-stream"))
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        if status == 200 and "/resolve/" in self.path:
            self.send_header("X-Repo-Commit", COMMIT)
        for name, value in (extra or {}).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def use(monkeypatch):
    """Replace the catalogue's row of sam2.1-tiny by one for the test's small file."""

    def use(**changes):
        changed = replace(catalog.CATALOG["sam2.1-tiny"], **{"size": len(BODY), "sha256": SHA256, **changes})
        monkeypatch.setitem(catalog.CATALOG, "sam2.1-tiny", changed)

    use()
    return use


@pytest.fixture
def folder(monkeypatch, tmp_path, server, use):
    """An empty cache; the test's server as the only source; no waiting between tries."""
    for name in ("MASKWRIGHT_OFFLINE", "HF_HUB_OFFLINE", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MASKWRIGHT_MIRROR", server.address)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(download, "FIRST_PAUSE", 0.001)
    return tmp_path / "cache/weights"


@pytest.fixture
def hub(monkeypatch, server, folder):
    """The test's server as Hugging Face, and as the official address behind it."""
    monkeypatch.delenv("MASKWRIGHT_MIRROR")
    monkeypatch.setattr(catalog, "OFFICIAL", server.address)
    template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    server.etag = '"abcdef0123456789"'
    server.files[HUB_PATH] = BODY


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def fails(match):
    return pytest.raises(DownloadError, match=match)


def test_downloads_once_and_then_uses_the_file(server, folder):
    path = fetch.locate("sam2.1_hiera_t")
    assert path == folder / "sam2.1_hiera_tiny.pt"
    assert path.read_bytes() == BODY
    assert names(folder) == ["sam2.1_hiera_tiny.pt", "sam2.1_hiera_tiny.pt.json"]
    assert fetch.locate("sam2.1-tiny") == path
    assert [request.path for request in server.gets] == [PATH]


def test_a_dropped_connection_continues_where_it_stopped(server, folder):
    server.script = ["cut", "cut"]
    assert fetch.locate("sam2.1-tiny").read_bytes() == BODY
    first, second, third = server.gets
    assert first.range is None
    assert second.range == f"bytes={first.sent}-"
    assert third.range == f"bytes={first.sent + second.sent}-"
    assert first.sent + second.sent + third.sent == len(BODY)


def test_a_later_run_continues_what_an_earlier_one_left(server, folder):
    server.script = ["cut", *[503] * (download.TRIES - 1)]
    with fails("503"):
        fetch.locate("sam2.1-tiny")
    partial = folder / "sam2.1_hiera_tiny.pt.part"
    begun = partial.stat().st_size
    assert 0 < begun < len(BODY)
    assert not (folder / "sam2.1_hiera_tiny.pt").exists()
    server.log.clear()
    assert fetch.locate("sam2.1-tiny").read_bytes() == BODY
    assert [(request.range, request.sent) for request in server.gets] == [
        (f"bytes={begun}-", len(BODY) - begun)
    ]
    assert not partial.exists()


def test_a_finished_part_is_not_sent_again(server, folder):
    server.script = ["cut", 404]
    with fails("404"):
        fetch.locate("sam2.1-tiny")
    (folder / "sam2.1_hiera_tiny.pt.part").write_bytes(BODY)
    server.log.clear()
    assert fetch.locate("sam2.1-tiny").read_bytes() == BODY
    assert sum(request.sent for request in server.gets) == 0


def test_a_changed_file_is_begun_anew(server, folder):
    server.files[PATH] = b"old" * (len(BODY) // 3)
    server.script = ["cut", 404]
    with fails("404"):
        fetch.locate("sam2.1-tiny")
    server.files[PATH], server.etag = BODY, '"second"'
    assert fetch.locate("sam2.1-tiny").read_bytes() == BODY
    assert server.gets[-1].sent == len(BODY)


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_without_a_strong_validator_nothing_is_continued(server, folder, etag):
    server.etag = etag
    server.script = ["cut"]
    assert fetch.locate("sam2.1-tiny").read_bytes() == BODY
    assert [request.range for request in server.gets] == [None, None]


@pytest.mark.parametrize("trick", ["ignore range", "wrong place"])
def test_servers_that_handle_ranges_badly(server, folder, trick):
    server.script = ["cut", trick]
    assert fetch.locate("sam2.1-tiny").read_bytes() == BODY


def test_passing_errors_are_retried_and_lasting_ones_are_not(server, folder):
    server.script = [500, 503, 429]
    assert fetch.locate("sam2.1-tiny").read_bytes() == BODY
    assert len(server.gets) == 4
    (folder / "sam2.1_hiera_tiny.pt").unlink()
    server.log.clear()
    server.script = [403]
    with fails("403"):
        fetch.locate("sam2.1-tiny")
    assert len(server.gets) == 1


def test_retries_end(server, folder):
    server.script = [500] * 100
    with fails("500"):
        fetch.locate("sam2.1-tiny")
    assert len(server.gets) == download.TRIES


def test_a_damaged_file_is_refused_and_not_kept(server, folder):
    server.script = ["damage"]
    with fails(f"not kept: its sha256 is .*, not {SHA256}"):
        fetch.locate("sam2.1-tiny")
    assert names(folder) == []
    assert fetch.locate("sam2.1-tiny").read_bytes() == BODY


def test_a_file_of_another_size_is_refused_before_the_transfer(server, folder):
    server.files[PATH] = BODY * 2
    with fails("offers a file of 614,400 bytes instead of 307,200"):
        fetch.locate("sam2.1-tiny")
    assert names(folder) == []


def test_a_login_page_is_no_model(server, folder):
    server.script = ["page"]
    with fails("a web page instead of the file"):
        fetch.locate("sam2.1-tiny")


def test_an_unknown_sum_is_recorded_and_kept_to(server, folder, use):
    use(sha256=None, size=None)
    path = fetch.locate("sam2.1-tiny")
    assert json.loads((folder / "sam2.1_hiera_tiny.pt.json").read_text())["sha256"] == SHA256
    path.unlink()
    server.files[PATH], server.etag = b"something else", '"second"'
    with fails("not kept"):
        fetch.locate("sam2.1-tiny")
    assert not path.exists()


def test_a_file_that_changed_since_its_check_is_refused(server, folder):
    path = fetch.locate("sam2.1-tiny")
    path.write_bytes(BODY[:-1] + b"!")
    os.utime(path, (1, 1))
    with fails("is not the file of sam2.1-tiny: its sha256 is .* delete it and run again"):
        fetch.locate("sam2.1-tiny")
    path.write_bytes(BODY[:-5])
    with fails("307,195 bytes instead of 307,200"):
        fetch.locate("sam2.1-tiny")
    assert path.exists()


def test_an_unchanged_file_is_not_hashed_again_and_a_touched_one_is(server, folder, monkeypatch):
    path = fetch.locate("sam2.1-tiny")
    hashed = []
    real = fetch._sha256
    monkeypatch.setattr(fetch, "_sha256", lambda path: hashed.append(path) or real(path))
    fetch.locate("sam2.1-tiny")
    assert hashed == []
    os.utime(path, (1, 1))
    fetch.locate("sam2.1-tiny")
    fetch.locate("sam2.1-tiny")
    assert hashed == [path]


def test_a_file_put_there_by_hand_is_used(server, folder, monkeypatch):
    monkeypatch.setenv("MASKWRIGHT_OFFLINE", "1")
    folder.mkdir(parents=True)
    (folder / "sam2.1_hiera_tiny.pt").write_bytes(BODY)
    assert fetch.locate("sam2.1-tiny") == folder / "sam2.1_hiera_tiny.pt" == fetch.present("sam2.1-tiny")
    assert server.log == []


@pytest.mark.parametrize("variable", ["MASKWRIGHT_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_says_which_file_to_put_where(server, folder, monkeypatch, variable):
    monkeypatch.setenv(variable, "1")
    with pytest.raises(DownloadError) as caught:
        fetch.locate("sam2.1-tiny")
    message = str(caught.value)
    assert str(folder / "sam2.1_hiera_tiny.pt") in message
    assert "https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_tiny.pt" in message
    assert "\n" not in message
    assert server.log == []
    assert not folder.exists()


def test_an_unreachable_server_is_given_up_soon_and_says_what_to_do(server, folder, monkeypatch):
    monkeypatch.setenv("MASKWRIGHT_MIRROR", "http://127.0.0.1:9/mirror/")
    with pytest.raises(DownloadError) as caught:
        fetch.locate("sam2.1-tiny")
    message = str(caught.value)
    assert "http://127.0.0.1:9/mirror/092824/sam2.1_hiera_tiny.pt" in message
    assert str(folder / "sam2.1_hiera_tiny.pt") in message
    assert "\n" not in message


def test_a_mirror_that_is_no_address(folder, monkeypatch):
    monkeypatch.setenv("MASKWRIGHT_MIRROR", "over there")
    with fails("cannot download sam2.1-tiny"):
        fetch.locate("sam2.1-tiny")


def test_two_threads_download_once(server, folder):
    server.gate.clear()
    found, failures = [], []

    def work():
        try:
            found.append(fetch.locate("sam2.1-tiny"))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    server.gate.set()
    for thread in threads:
        thread.join(20)
    assert failures == []
    assert found == [folder / "sam2.1_hiera_tiny.pt"] * 3
    assert len(server.gets) == 1


def test_a_full_disk_is_said_before_the_transfer(server, folder, monkeypatch):
    usage = shutil.disk_usage(folder.parent.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with fails("307,200 bytes are needed and 1,000 are free .* make room"):
        fetch.locate("sam2.1-tiny")
    assert server.gets[0].path == PATH


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_during_the_transfer(server, folder, monkeypatch):
    folder.mkdir(parents=True)
    monkeypatch.setattr(download, "_remember", lambda *args: None)
    (folder / "sam2.1_hiera_tiny.pt.part").symlink_to("/dev/full")
    with fails("is full: free some space"):
        fetch.locate("sam2.1-tiny")
    assert not (folder / "sam2.1_hiera_tiny.pt").exists()


def test_a_cache_that_cannot_be_written_to(server, folder):
    folder.parent.mkdir(parents=True)
    folder.write_text("a file in the way")
    with fails("cannot write into the cache folder .* set MASKWRIGHT_CACHE"):
        fetch.locate("sam2.1-tiny")


def test_hugging_face_comes_first(server, hub, folder, tmp_path):
    path = fetch.locate("sam2.1-tiny")
    assert path.read_bytes() == BODY
    assert (tmp_path / "hub") in path.parents
    assert [request.path for request in server.gets if "sam2" in request.path] == [HUB_PATH]
    server.log.clear()
    assert fetch.locate("sam2.1-tiny") == path == fetch.present("sam2.1-tiny")
    assert server.log == []


def test_without_the_file_at_hugging_face_the_official_address_serves(server, hub, folder):
    del server.files[HUB_PATH]
    assert fetch.locate("sam2.1-tiny") == folder / "sam2.1_hiera_tiny.pt"
    assert [request.path for request in server.gets if "sam2" in request.path] == [PATH]


def test_another_file_at_hugging_face_is_not_used(server, hub, folder):
    server.files[HUB_PATH] = BODY[::-1]
    path = fetch.locate("sam2.1-tiny")
    assert path == folder / "sam2.1_hiera_tiny.pt"
    assert path.read_bytes() == BODY


def test_when_both_fail_one_line_tells_both(server, hub, folder):
    server.files.clear()
    with pytest.raises(DownloadError) as caught:
        fetch.locate("sam2.1-tiny")
    message = str(caught.value)
    assert (
        "Hugging Face: facebook/sam2.1-hiera-tiny does not answer or has no sam2.1_hiera_tiny.pt" in message
    )
    assert f"{server.address}{PATH}: the server answered 404" in message
    assert "\n" not in message


def test_the_cache_follows_the_conventions_of_the_system(monkeypatch, tmp_path):
    monkeypatch.setenv("MASKWRIGHT_CACHE", str(tmp_path))
    assert fetch.cached_path("sam2-b+") == tmp_path / "weights/sam2_hiera_base_plus.pt"
    assert fetch.present("sam2-b+") is None
    monkeypatch.setenv("MASKWRIGHT_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert "maskwright" in fetch.cache_folder().parts


def test_the_bundled_model(monkeypatch, tmp_path):
    monkeypatch.setattr(fetch, "BUNDLED", tmp_path)
    with pytest.raises(CheckpointError, match="nano is missing from this installation"):
        fetch.locate("nano")
    (tmp_path / "nano.safetensors").write_bytes(b"weights")
    assert fetch.locate("nano") == tmp_path / "nano.safetensors" == fetch.present("nano")


def test_an_unknown_model():
    with pytest.raises(UnknownModelError, match=r"sam2\.1-tiny"):
        fetch.locate("sam2.1-tyni")


def test_the_bar_is_for_terminals_only(server, folder, capsys, monkeypatch):
    fetch.locate("sam2.1-tiny")
    assert capsys.readouterr() == ("", "")
    (folder / "sam2.1_hiera_tiny.pt").unlink()
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    fetch.locate("sam2.1-tiny")
    out, err = capsys.readouterr()
    assert out == ""
    assert "sam2.1-tiny" in err
