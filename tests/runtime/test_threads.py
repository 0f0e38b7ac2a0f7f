from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from maskwright.runtime import threads
from maskwright.runtime.threads import Allowance, quota, settle_threads, too_many, warn_if_too_many


def group(root: Path, folder: str, **files: str) -> None:
    """A folder of the control groups with files in it; a dot in a name is written as two underscores."""
    place = root / folder
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name.replace("__", ".")).write_text(text + "\n")


def listed(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "cgroup"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


class TestQuota:
    def test_version_2(self, tmp_path: Path) -> None:
        group(tmp_path, "a/b", cpu__max="150000 100000")
        assert quota(listed(tmp_path, "0::/a/b"), tmp_path) == 1.5

    def test_the_tightest_of_all_groups_around_counts(self, tmp_path: Path) -> None:
        group(tmp_path, "a", cpu__max="200000 100000")
        group(tmp_path, "a/b", cpu__max="max 100000")
        group(tmp_path, "a/b/c", cpu__max="400000 100000")
        assert quota(listed(tmp_path, "0::/a/b/c"), tmp_path) == 2

    def test_in_a_container_its_own_group_is_the_root(self, tmp_path: Path) -> None:
        group(tmp_path, ".", cpu__max="200000 100000")
        assert quota(listed(tmp_path, "0::/"), tmp_path) == 2
        assert quota(listed(tmp_path, "0::/docker/0123"), tmp_path) == 2

    @pytest.mark.parametrize("mounted", ["cpu,cpuacct", "cpu"])
    def test_version_1(self, tmp_path: Path, mounted: str) -> None:
        group(tmp_path, f"{mounted}/a", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
        assert quota(listed(tmp_path, "9:memory:/x", "4:cpu,cpuacct:/a", "0::/"), tmp_path) == 0.5

    @pytest.mark.parametrize("text", ["max 100000", "", "-1 100000", "what is this", "100000"])
    def test_no_limit(self, tmp_path: Path, text: str) -> None:
        group(tmp_path, ".", cpu__max=text)
        assert quota(listed(tmp_path, "0::/"), tmp_path) is None

    def test_an_unlimited_group_of_version_1(self, tmp_path: Path) -> None:
        group(tmp_path, "cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
        assert quota(listed(tmp_path, "4:cpu:/"), tmp_path) is None

    def test_a_system_without_groups(self, tmp_path: Path) -> None:
        assert quota(tmp_path / "absent", tmp_path) is None


class TestAllowance:
    @pytest.mark.parametrize(
        ("visible", "share", "whole"), [(8, None, 8), (64, 2.0, 2), (64, 2.9, 2), (64, 0.5, 1), (2, 16.0, 2)]
    )
    def test_whole_processors(self, visible: int, share: float | None, whole: int) -> None:
        assert Allowance(visible, share).whole == whole

    def test_this_machine_has_some(self) -> None:
        assert 1 <= threads.allowance().whole <= (os.cpu_count() or 1)


class TestAdvice:
    def test_threads_that_fit(self) -> None:
        assert too_many(2, Allowance(8, 2.0)) is None
        assert too_many(8, Allowance(8, None)) is None

    def test_threads_that_do_not(self) -> None:
        said = too_many(32, Allowance(64, 2.0))
        assert said is not None
        assert "32 threads for 64 processors" in said
        assert "the time of 2:" in said
        assert "torch.set_num_threads(2) or set OMP_NUM_THREADS=2" in said

    def test_a_warning_comes_once(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        threads._warn_once.cache_clear()
        caplog.set_level(logging.WARNING, "maskwright")
        monkeypatch.setattr(threads, "allowance", lambda: Allowance(64, 3.0))
        for _ in range(2):
            warn_if_too_many(40)
        warn_if_too_many(3)
        assert len(caplog.records) == 1
        threads._warn_once.cache_clear()


class TestSettle:
    @pytest.fixture(autouse=True)
    def clean(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in threads.VARIABLES:
            monkeypatch.setenv(name, "")  # so that it is put back afterwards

    def test_a_share_of_the_machine_is_kept_to(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(threads, "allowance", lambda: Allowance(64, 2.5))
        settle_threads()
        assert os.environ["OMP_NUM_THREADS"] == "2"

    def test_without_a_limit_nothing_is_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(threads, "allowance", lambda: Allowance(64, None))
        settle_threads()
        assert os.environ["OMP_NUM_THREADS"] == ""

    @pytest.mark.parametrize("name", threads.VARIABLES)
    def test_what_was_set_stays(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setenv(name, "5")
        monkeypatch.setattr(threads, "allowance", lambda: Allowance(64, 2.5))
        settle_threads()
        assert [os.environ[one] for one in threads.VARIABLES].count("5") == 1
        assert "2" not in [os.environ[one] for one in threads.VARIABLES]
