# SPDX-License-Identifier: Apache-2.0
"""Mending a bag in place: what a killed recorder, a full disk or a lost metadata.yaml left, made whole for every tool.

A bag never becomes less readable. The mended files are made in a folder beside the originals and read back, by this
package and by another library, before they take the originals' places. A file takes its place in one step, and
metadata.yaml last, so that a bag whose repair is interrupted reads as it did before or better.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from jepa_ros.bags import BagError
from jepa_ros.bags.format.fingerprint import Fingerprint, by_another_library, by_this_package
from jepa_ros.bags.format.metadata import compose, write_metadata
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.bags.format.sqlite_storage import LOGS, SqliteStorage, beside, in_use
from jepa_ros.bags.format.storage import Storage
from jepa_ros.bags.format.unpack import is_packed, pack, plain_name

STAGING = ".jepa_ros_repair"
"""Name of the folder in which the mended files are made."""


def repair(path: str | Path) -> list[str]:
    """Mend a bag (a folder, or one of its files) in place; returns what was done, a line each.

    Raises:
        BagError: it is being recorded right now, cannot be written, or what came of it could not be read back; the bag
            is as it was then.
    """
    path = Path(path)
    with BagReader(path) as bag:
        try:
            before = by_this_package(bag)
        except BagError:
            before = None  # damage that shows only where it is read
        if before is not None:
            return _repair(bag, before)
    with BagReader(path, thorough=True) as bag:
        return _repair(bag, by_this_package(bag))


def _repair(bag: BagReader, before: Fingerprint) -> list[str]:
    folder = bag.path.is_dir()
    packed = any(map(is_packed, [*(storage.source for storage in bag.files), *bag.superseded]))
    changed = [s for s in bag.files if not s.complete or (folder and packed and not is_packed(s.source))]
    if not changed and not (folder and bag.metadata_stale):
        return []
    if folder and len({type(storage) for storage in bag.files}) > 1:
        raise BagError(
            f"{bag.path}: holds MCAP and sqlite3 files, which no metadata.yaml can list together: move those of one "
            "kind into a folder of their own"
        )
    marks = {storage.source: _mark(storage.source) for storage in bag.files}
    with contextlib.ExitStack() as held:
        for storage in changed:
            held.enter_context(_held(storage))
        try:
            staging = held.enter_context(_staging(bag.path))
            made = {storage.source: _build(storage, staging, packed) for storage in changed}
            if folder:
                _complete(bag, changed, staging, "file" if packed else "message" if before.compressed else "")
            _check(bag.path, staging if folder else made[bag.path][0], before)
            if any(_mark(source) != mark for source, mark in marks.items()):
                raise BagError(f"{bag.path}: was written to while it was mended; end the recorder first")
            _swap(bag, {source: result for source, (result, _) in made.items()}, staging)
        except OSError as error:
            where = error.filename or bag.path
            raise BagError(f"{where}: cannot be mended, the bag is as it was: {error.strerror or error}") from error
    done = [f"{source.name}: {text}" for source, (_, text) in made.items()]
    if folder:
        done.append("metadata.yaml: written anew")
    elif bag.path.with_name("metadata.yaml").exists():
        done.append(f"metadata.yaml beside it is as it was: `jepa-ros info --repair {bag.path.parent}` renews it")
    return done


def _mark(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


@contextlib.contextmanager
def _held(storage: Storage) -> Iterator[None]:
    """Keep recorders off a file; refuses one that is being recorded."""
    busy = BagError(f"{storage.source}: is being recorded right now; end the recorder first")
    if isinstance(storage, SqliteStorage) and in_use(storage.source):
        raise busy
    with storage.source.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise busy from None
        except OSError:
            pass  # a file system without locks
        yield


@contextlib.contextmanager
def _staging(path: Path) -> Iterator[Path]:
    """An empty folder on the bag's file system; removed at the end, and what an interrupted repair left before."""
    folder = path / STAGING if path.is_dir() else path.with_name(f"{STAGING}_{path.name}")
    folder.mkdir(exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BagError(f"{path}: is being mended right now by another process") from None
        for left in folder.iterdir():
            left.unlink()
        yield folder
        shutil.rmtree(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        os.close(lock)


def _build(storage: Storage, staging: Path, packed: bool) -> tuple[Path, str]:
    """Make the mended file; returns it and what was done."""
    name = plain_name(storage.source.name)
    plain, done = staging / name, "compressed as the others are"
    if storage.complete:
        shutil.copyfile(storage.path, plain)
    else:
        done = storage.mend(plain)
    if packed:
        result = staging / (storage.source.name if is_packed(storage.source) else f"{name}.zstd")
        pack(plain, result)
        plain.unlink()
    else:
        result = plain
    shutil.copymode(storage.source, result)
    with result.open("rb+") as file:
        os.fsync(file.fileno())
    return result, done


def _complete(bag: BagReader, changed: list[Storage], staging: Path, compression: str) -> None:
    """Make a whole bag of the folder: the files that stay as they are, and metadata.yaml."""
    for storage in bag.files:
        if storage not in changed:
            (staging / storage.source.name).symlink_to(storage.source.resolve())
    with BagReader(staging) as mended:
        write_metadata(staging, compose(mended, bag, compression))


def _check(original: Path, path: Path, before: Fingerprint) -> None:
    """Read the result back.

    Raises:
        BagError: it is not whole, or does not hold what could be read before.
    """
    refused = f"{original}: cannot be mended, the bag is as it was"
    with BagReader(path) as bag:
        if bag.problems:
            raise BagError(f"{refused}: the result has this problem: {bag.problems[0]}")
        for reader, found in (("this package", by_this_package(bag)), by_another_library(bag)):
            if found != before:
                what = found if isinstance(found, str) else f"{found.total} of {before.total} messages, or others"
                raise BagError(f"{refused}: of the result, {reader} reads: {what}")


def _swap(bag: BagReader, made: dict[Path, Path], staging: Path) -> None:
    """Put what was made in its place, metadata.yaml last, and take away what it replaces."""
    folder = bag.path if bag.path.is_dir() else bag.path.parent
    for result in made.values():
        os.replace(result, folder / result.name)
    if (staging / "metadata.yaml").exists():
        os.replace(staging / "metadata.yaml", folder / "metadata.yaml")
    for source, result in made.items():
        for ending in (*LOGS, "-shm"):  # of a database
            beside(source, ending).unlink(missing_ok=True)
        if source.name != result.name:
            source.unlink()
    for path in bag.superseded:
        if path.name not in {result.name for result in made.values()}:
            path.unlink()
    _sync(folder)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems know no fsync of a folder
            os.fsync(fd)
    finally:
        os.close(fd)
