"""Cameras and streams: loopback servers and devices that misbehave."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import socket
import threading
import time

import av
import numpy as np
import pytest

from clips import make_clip, make_sound
from maskwright.errors import InputError, SourceError, StateError
from maskwright.io.sources import Latest, Source, open_source
from maskwright.io.sources.camera import LiveSource, camera_input
from maskwright.io.sources.video import VideoSource


@pytest.fixture
def server(tmp_path):
    """An HTTP server of ``tmp_path`` on loopback that answers GET with whole files; gives its address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args):
            pass

        def copyfile(self, source, outputfile):
            with contextlib.suppress(ConnectionError):
                super().copyfile(source, outputfile)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@contextlib.contextmanager
def stalling(content):
    """A server that sends ``content`` as an answer without an end and then says nothing more."""
    done = threading.Event()

    def serve(listener):
        listener.settimeout(5)
        connections = []
        with contextlib.suppress(OSError):
            while not done.is_set():
                connection, _ = listener.accept()
                connections.append(connection)
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n" + content)
        for connection in connections:
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/live.ts"
        done.set()
        with contextlib.suppress(OSError), socket.create_connection(listener.getsockname(), 1):
            pass
        thread.join(6)


def pattern_camera():
    """FFmpeg's test picture as an endless camera."""
    return av.open("testsrc=size=64x48:rate=10", format="lavfi")


def test_a_finished_video_at_an_address_is_read_like_a_file(server, tmp_path):
    make_clip(tmp_path / "clip.mp4", muxing={"movflags": "faststart"})
    with open_source(f"{server}/clip.mp4", timeout=5) as source, open_source(tmp_path / "clip.mp4") as local:
        assert isinstance(source, VideoSource)
        assert (source.live, source.num_frames, source.size) == (False, 60, (48, 64))
        for found, expected in zip(source.frames(40, 43), local.frames(40, 43), strict=True):
            assert found.index == expected.index
            assert np.array_equal(found.image, expected.image)


def test_a_stream_without_a_length_is_live_and_ends_with_the_connection(server, tmp_path):
    make_clip(tmp_path / "clip.ts", 40)
    source = open_source(f"{server}/clip.ts", timeout=5)
    with source:
        assert isinstance(source, Source)
        assert (source.live, source.num_frames, source.size, source.count()) == (True, None, (48, 64), None)
        with pytest.raises(InputError, match="live"):
            source.backward(3)
        first = list(source.frames(2, 12, 3))
        assert [frame.index for frame in first] == [2, 5, 8, 11]
        assert [frame.time for frame in first] == pytest.approx([0.08, 0.2, 0.32, 0.44])
        assert [frame.index for frame in source.frames()] == list(range(12, 40))
        assert list(source.frames()) == []
    with pytest.raises(StateError, match="was closed"):
        source.frames()


@pytest.mark.parametrize(
    ("path", "complaint"), [("none.mp4", "404"), ("sound.m4a", "sound but no video"), ("text.ts", "damaged")]
)
def test_addresses_without_a_video_are_refused(server, tmp_path, path, complaint):
    make_sound(tmp_path / "sound.m4a")
    (tmp_path / "text.ts").write_text("no video" * 100)
    with pytest.raises(SourceError, match=complaint):
        open_source(f"{server}/{path}", timeout=5)


def test_a_server_that_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(SourceError, match="no answer in time") as caught:
            open_source(f"rtsp://me:secret@127.0.0.1:{silent.getsockname()[1]}/live", timeout=0.2)
        assert time.monotonic() - began < 3
    assert "secret" not in str(caught.value)


def test_nobody_at_the_address_is_said_at_once():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(SourceError, match="refused"):
        open_source(f"rtsp://127.0.0.1:{port}/live", timeout=5)
    with pytest.raises(SourceError, match="does not know this kind of address"):
        open_source("gopher2://127.0.0.1/clip.mp4", timeout=5)


def test_a_stream_that_stops_sending_raises_after_what_came(tmp_path):
    content = make_clip(tmp_path / "clip.ts", 40).read_bytes()
    with (
        stalling(content) as address,
        LiveSource("stream", lambda: av.open(address, timeout=0.4), timeout=0.4) as source,
    ):
        found = []
        with pytest.raises(SourceError, match=r"no answer in time|sent nothing"):
            for frame in source.frames():
                found.append(frame.index)
    assert found == list(range(len(found)))
    assert len(found) > 20


class Device:
    """A camera that hangs or breaks after some frames, in place of FFmpeg's container."""

    def __init__(self, frames, then):
        self._inner = pattern_camera()
        self._frames, self._then = frames, then
        self.closed = threading.Event()
        self.gate = threading.Event()

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def demux(self, stream):
        yield from itertools.islice(self._inner.demux(stream), self._frames)
        self._frames = 0
        if self._then == "hang":
            self.gate.wait(5)
        elif self._then == "vanish":
            raise OSError(19, "No such device")

    def close(self):
        self._inner.close()
        self.closed.set()


def test_a_device_that_hangs_inside_the_system_is_noticed():
    device = Device(3, "hang")
    source = LiveSource("camera 0", lambda: device, timeout=-0.9, endless=True)
    began = time.monotonic()
    with pytest.raises(SourceError, match="camera 0 sent nothing"):
        list(source.frames())
    assert time.monotonic() - began < 2
    device.gate.set()
    source.close()
    assert device.closed.wait(5)


@pytest.mark.parametrize("then", ["vanish", "end"])
def test_a_camera_that_goes_away_is_an_error_after_its_last_frame(then):
    device = Device(4, then)
    found = []
    with (
        LiveSource("camera 0", lambda: device, timeout=5, endless=True) as source,
        pytest.raises(SourceError, match="camera 0 went away after frame 3"),
    ):
        for frame in source.frames():
            found.append(frame.index)
    assert found == [0, 1, 2, 3]
    assert device.closed.wait(5)


def test_a_camera_without_a_single_frame():
    with pytest.raises(SourceError, match="before its first frame"):
        LiveSource("camera 0", lambda: Device(0, "end"), timeout=5)


def test_latency_mode_over_a_camera():
    with LiveSource("camera 0", pattern_camera, timeout=5) as source:
        assert (source.size, source.fps) == ((48, 64), 10.0)
        with Latest(source.frames()) as newest:
            first = next(newest)
            enough, end = newest.dropped + 20, time.monotonic() + 5
            while newest.dropped < enough and time.monotonic() < end:
                time.sleep(0.001)
            second = next(newest)
        assert second.index > first.index + 15
        assert second.time == pytest.approx(second.index / 10)


def test_leaving_a_camera_releases_it():
    device = Device(10**6, "end")
    with LiveSource("camera 0", lambda: device, timeout=5) as source:
        next(source.frames())
    assert device.closed.wait(5)


def test_cameras_by_system():
    assert camera_input("0", "linux") == ("/dev/video0", "v4l2")
    assert camera_input("/dev/video7", "linux") == ("/dev/video7", "v4l2")
    assert camera_input("1", "darwin") == ("1:none", "avfoundation")
    assert camera_input("FaceTime HD", "darwin") == ("FaceTime HD", "avfoundation")
    assert camera_input("Logi C920", "win32") == ("video=Logi C920", "dshow")


def test_a_camera_that_is_not_there(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    for camera in (97, "camera:97"):
        with pytest.raises(SourceError, match="there is no camera 97; cameras of this machine"):
            open_source(camera)
    with pytest.raises(InputError, match='"camera:0"'):
        open_source("camera:")
