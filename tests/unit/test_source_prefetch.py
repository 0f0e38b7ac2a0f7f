"""Background reading: order, errors in their place, bounds, and no thread left behind."""

from __future__ import annotations

import threading
import time

import pytest

from maskwright.errors import InputError
from maskwright.io.sources import Latest, prefetch

PATIENCE = 5.0


def reading_threads():
    return [thread for thread in threading.enumerate() if thread.name == "maskwright-prefetch"]


def eventually(condition):
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)
    return condition()


@pytest.fixture(autouse=True)
def no_thread_stays():
    assert not reading_threads()
    yield
    assert eventually(lambda: not reading_threads())


class Steps:
    """An iterator of numbers that notes how far it was read and whether it was closed, and by whom."""

    def __init__(self, stop=10**9, error_at=None):
        self.made = 0
        self.closed_by = None
        self._stop, self._error_at = stop, error_at

    def __iter__(self):
        return self

    def __next__(self):
        if self.made == self._error_at:
            raise ValueError("step failed")
        if self.made == self._stop:
            raise StopIteration
        self.made += 1
        return self.made - 1

    def close(self):
        self.closed_by = threading.current_thread().name


def test_items_come_in_order_and_the_source_is_closed_in_its_thread():
    steps = Steps(100)
    assert list(prefetch(steps, 3)) == list(range(100))
    assert steps.closed_by == "maskwright-prefetch"


def test_reads_no_further_ahead_than_asked():
    steps = Steps()
    with prefetch(steps, 4) as ahead:
        assert next(ahead) == 0
        assert eventually(lambda: steps.made == 6)  # one taken, four waiting, one in the thread's hands
        time.sleep(0.03)
        assert steps.made == 6
    assert steps.closed_by == "maskwright-prefetch"


def test_an_error_comes_after_the_items_before_it_and_then_nothing():
    ahead = prefetch(Steps(error_at=3))
    found = []
    with pytest.raises(ValueError, match="step failed"):
        for item in ahead:
            found.append(item)
    assert found == [0, 1, 2]
    assert list(ahead) == []


def test_an_iterable_that_cannot_even_start_tells_the_consumer():
    with pytest.raises(TypeError, match="not iterable"):
        next(prefetch(7))


@pytest.mark.parametrize("how", ["close", "break", "forget", "with"])
def test_leaving_early_ends_the_thread_and_releases_the_source(how):
    released = threading.Event()

    def endless():
        try:
            while True:
                yield bytes(10)
        finally:
            released.set()

    ahead = prefetch(endless(), 2)
    next(ahead)
    if how == "close":
        ahead.close()
        ahead.close()
        assert list(ahead) == []
    elif how == "break":
        for _ in ahead:
            break
        del ahead
    elif how == "with":
        with ahead:
            next(ahead)
    else:
        del ahead
    assert released.wait(PATIENCE)


def test_closing_while_the_consumer_waits_elsewhere_wakes_it():
    gate = threading.Event()

    def stuck():
        gate.wait(PATIENCE)
        yield 1

    ahead = prefetch(stuck())
    ended = []
    consumer = threading.Thread(target=lambda: ended.append(list(ahead)))
    consumer.start()
    threading.Timer(0.02, gate.set).start()
    ahead.close(wait=0)
    consumer.join(PATIENCE)
    assert ended == [[]]


def test_chained_readers_all_end():
    steps = Steps()
    outer = prefetch(prefetch(steps, 2), 2)
    assert [next(outer) for _ in range(5)] == list(range(5))
    outer.close()
    assert eventually(lambda: steps.closed_by is not None)


def test_waiting_can_be_limited():
    gate = threading.Event()

    def late():
        gate.wait(PATIENCE)
        yield "late"

    with prefetch(late()) as ahead:
        with pytest.raises(TimeoutError):
            ahead.get(0.01)
        gate.set()
        assert ahead.get(PATIENCE) == "late"


def test_size_must_be_positive():
    with pytest.raises(InputError, match="size=0"):
        prefetch([], 0)


def test_latest_gives_the_newest_counts_the_rest_and_ends_with_the_last():
    made = threading.Semaphore(0)
    idle = threading.Event()

    def camera():
        for number in range(20):
            made.acquire()
            yield number
            idle.set()

    def make(count):
        for _ in range(count):
            idle.clear()
            made.release()
            assert idle.wait(PATIENCE)

    latest = Latest(camera())
    make(5)
    assert next(latest) == 4
    assert latest.dropped == 4
    make(1)
    assert next(latest) == 5
    assert latest.dropped == 4
    make(14)
    assert list(latest) == [19]
    assert latest.dropped == 4 + 13


def test_latest_loses_nothing_when_the_consumer_keeps_up():
    turn = threading.Semaphore(0)

    def paced():
        for number in range(10):
            turn.acquire()
            yield number

    latest = Latest(paced())
    found = []
    for _ in range(10):
        turn.release()
        found.append(next(latest))
    assert found == list(range(10))
    assert latest.dropped == 0


def test_latest_passes_errors_on_and_can_be_left():
    latest = Latest(Steps(error_at=0))
    with pytest.raises(ValueError, match="step failed"):
        next(latest)
    steps = Steps()
    with Latest(steps) as endless:
        first, second = next(endless), next(endless)
        assert first < second
    assert steps.closed_by == "maskwright-prefetch"
