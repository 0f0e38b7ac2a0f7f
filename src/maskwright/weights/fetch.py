"""From a model's name to a file on this machine.

An existing file wins: ours in the cache, then one in Hugging Face's cache. Otherwise the file comes through
huggingface_hub where its repository answers, else from the official address. Every file's sha256 is checked
once, and again whenever its size or time of change differ from what was checked.

Environment: ``MASKWRIGHT_CACHE`` another cache folder; ``MASKWRIGHT_OFFLINE=1`` or ``HF_HUB_OFFLINE=1`` never
touch the network; ``MASKWRIGHT_MIRROR`` an address with the official folders, used instead of all others.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from maskwright.errors import CheckpointError, DownloadError
from maskwright.weights import catalog
from maskwright.weights.catalog import Row
from maskwright.weights.download import answers, discard, download

log = logging.getLogger(__name__)

BUNDLED = Path(__file__).parent
"""Folder of model files that come inside the package."""
HASH_CHUNK = 1 << 20


def cache_folder() -> Path:
    """Where downloaded files are kept: ``MASKWRIGHT_CACHE``, else the user's cache folder of this system."""
    override = os.environ.get("MASKWRIGHT_CACHE", "").strip()
    if override:
        return Path(override).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("maskwright", appauthor=False))


def offline() -> bool:
    """Whether the environment forbids the network."""
    variables = ("MASKWRIGHT_OFFLINE", "HF_HUB_OFFLINE")
    return any(os.environ.get(name, "").strip().lower() in {"1", "true", "yes", "on"} for name in variables)


def cached_path(name: str) -> Path:
    """Where the file of a model is, or where it may be put by hand."""
    row = catalog.find(name)
    return (BUNDLED if row.bundled else _folder()) / row.file


def present(name: str) -> Path | None:
    """The file of a model if it is on this machine, without a look into it and without the network."""
    row = catalog.find(name)
    own = cached_path(name)
    return own if own.is_file() else _hub_cached(row)


def here(name: str) -> Path | None:
    """The file of a named model if it is on this machine and what it should be; never touches the network."""
    row = catalog.find(name)
    try:
        return _bundled(row) if row.bundled else _local(row)
    except (DownloadError, CheckpointError) as error:
        log.warning("%s", error)
        return None


def locate(name: str) -> Path:
    """The file of a named model, downloaded if need be.

    Raises:
        UnknownModelError: no model has this name.
        DownloadError: the file could not be had, or is not the right one; says which file to put where.
        CheckpointError: the model should be inside the package and is not.
    """
    row = catalog.find(name)
    if row.bundled:
        return _bundled(row)
    found = _local(row)
    if found is not None:
        return found
    if offline():
        raise DownloadError(
            f"{row.name} is not on this machine and the network is switched off "
            f"(MASKWRIGHT_OFFLINE or HF_HUB_OFFLINE): {_by_hand(row)}"
        )
    with _lock(row):
        return _local(row) or _fetch(row)


def _bundled(row: Row) -> Path:
    path = BUNDLED / row.file
    if not path.is_file():
        raise CheckpointError(
            f"the bundled model {row.name} is missing from this installation ({path}): reinstall maskwright, "
            "or name another model or file"
        )
    return path


def _folder() -> Path:
    return cache_folder() / "weights"


def _by_hand(row: Row) -> str:
    return f"download {row.address} elsewhere and put it at {_folder() / row.file}"


def _local(row: Row) -> Path | None:
    """A file that is already here and has the right sum."""
    own = _folder() / row.file
    if own.is_file():
        try:
            _check(row, own)
        except _WrongSum as error:
            message = f"{own} is not the file of {row.name}: {error}; delete it and run again"
            raise DownloadError(message) from error
        return own
    hub = _hub_cached(row)
    if hub is not None:
        try:
            _check(row, hub)
        except _WrongSum as error:
            log.warning("ignoring %s in the Hugging Face cache: %s", hub, error)
        else:
            return hub
    return None


def _fetch(row: Row) -> Path:
    """Download by the first way that works. The caller holds the lock."""
    mirror = os.environ.get("MASKWRIGHT_MIRROR", "").strip()
    failures = []
    if not mirror:
        try:
            return _from_hub(row)
        except DownloadError as error:
            failures.append(f"Hugging Face: {error}")
            log.info("%s: %s; trying the official address", row.name, error)
    address = row.address_at(mirror or catalog.OFFICIAL)
    try:
        return _from_address(row, address)
    except DownloadError as error:
        failures.append(f"{address}: {error}")
        raise DownloadError(f"cannot download {row.name} ({'; '.join(failures)}); {_by_hand(row)}") from error


def _from_hub(row: Row) -> Path:
    """Through huggingface_hub, into its own cache, so that other programs share the file."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise DownloadError("huggingface_hub is not installed") from error
    repository = row.repository or ""
    if not answers(huggingface_hub.hf_hub_url(repository, row.file)):
        raise DownloadError(f"{repository} does not answer or has no {row.file}")
    try:
        path = Path(huggingface_hub.hf_hub_download(repository, row.file))
    except Exception as error:  # it raises its own, its HTTP client's and the system's errors
        raise DownloadError(_first_line(error)) from error
    try:
        _check(row, path)
    except _WrongSum as error:
        raise DownloadError(f"{error}") from error
    return path


def _from_address(row: Row, address: str) -> Path:
    """Over HTTPS into our cache. A file with the wrong sum is not kept."""
    final = _folder() / row.file
    part = final.with_name(final.name + ".part")
    download(address, part, size=row.size, label=row.name)
    try:
        _check(row, part, final)
    except _WrongSum as error:
        discard(part)
        raise DownloadError(f"the file came damaged or replaced and was not kept: {error}") from error
    try:
        part.replace(final)
    except OSError as error:
        raise DownloadError(f"cannot write {final}: {error.strerror or error}") from error
    discard(part)
    return final


def _hub_cached(row: Row) -> Path | None:
    if row.repository is None:
        return None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(row.repository, row.file)
    return Path(found) if isinstance(found, str) else None


@contextlib.contextmanager
def _lock(row: Row) -> Iterator[None]:
    """One download of a file at a time on this machine."""
    import filelock

    try:
        _folder().mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(_folder() / f"{row.file}.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            log.info("%s: another process is downloading it; waiting", row.name)
            lock.acquire()
    except OSError as error:
        raise DownloadError(
            f"cannot write into the cache folder {_folder()} ({error.strerror or error}): "
            "set MASKWRIGHT_CACHE to a folder that you may write to"
        ) from error
    try:
        yield
    finally:
        lock.release()


class _WrongSum(Exception):
    """A file is not the one that the catalogue or an earlier download promised."""


@dataclass
class _Record:
    """What is known of a model file, kept beside it as JSON: its sum, and which copies have it."""

    sha256: str
    checked: dict[str, list[int]] = field(default_factory=dict)
    """Path of a copy -> its size and time of change in ns when its sum was taken."""

    @staticmethod
    def path(row: Row) -> Path:
        return _folder() / f"{row.file}.json"

    @classmethod
    def read(cls, row: Row) -> _Record | None:
        """What was recorded, unless it is missing, broken or of another edition of the file."""
        try:
            record = cls(**json.loads(cls.path(row).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return record if row.sha256 in (None, record.sha256) else None

    def write(self, row: Row) -> None:
        """Keep it; a cache that cannot be written to only costs time on the next use."""
        path = self.path(row)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(vars(self), indent=1), "utf-8")
            temporary.replace(path)


def _check(row: Row, path: Path, final: Path | None = None) -> None:
    """Make sure that ``path`` is the file of ``row``; quick if nothing has changed since the last time.

    ``final``: the name under which the copy will be kept. Where no sum is known beforehand, the first one
    seen is recorded and kept to.
    """
    record = _Record.read(row)
    state = path.stat()
    stamp = [state.st_size, state.st_mtime_ns]
    copy = str(final or path)
    if final is None and record is not None and record.checked.get(copy) == stamp:
        return
    if row.size is not None and state.st_size != row.size:
        raise _WrongSum(f"it has {state.st_size:,} bytes instead of {row.size:,}")
    found = _sha256(path)
    expected = row.sha256 or (record.sha256 if record is not None else found)
    if found != expected:
        raise _WrongSum(f"its sha256 is {found}, not {expected}")
    record = record or _Record(found)
    record.checked[copy] = stamp
    record.write(row)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
