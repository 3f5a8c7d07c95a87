# SPDX-License-Identifier: Apache-2.0
"""A .db3 file as a storage of a bag: every version of rosbag2's tables, with a log that was left behind, or damaged.

The bag's own files are never opened for writing. A database whose recorder was killed is read from a copy into which
its log was taken; one that is damaged, from a copy of the rows that can still be read.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import numpy as np

from jepa_ros.bags import BagError
from jepa_ros.bags.format.storage import CDR, Channel, Message, parse_qos

LOGS = ("-wal", "-journal")
"""Endings of the files in which SQLite keeps what is not yet, or no longer, in the database."""
LOCK_BYTE, LOCK_BYTES = 0x40000000, 512
"""The bytes of a database on which SQLite's processes hold their locks (its file format, section 1.3.8)."""
LARGEST_SKIP = 1 << 40
"""Rows behind a damaged page are looked for in growing steps of their number; beyond this there are none."""


SOUND = "typeof(topic_id) = 'integer' AND typeof(timestamp) = 'integer' AND timestamp >= 0 AND typeof(data) = 'blob'"
"""What a row of `messages` is in a bag that is not damaged."""


class SqliteStorage:
    """A .db3 file."""

    profile = "ros2"

    def __init__(self, path: Path, source: Path, scratch: Path, *, thorough: bool = False) -> None:
        """Open the database and read its tables.

        Args:
            path: the database. source: the bag's file, which differs where that is compressed.
            scratch: folder for copies. thorough: look for damage that shows only where messages are read.

        Raises:
            BagError: it is empty, no database, or not one of rosbag2.
        """
        self.path, self.source, self.complete = path, source, True
        self.problems: list[str] = []
        self.embedded = ""
        logs = [log for ending in LOGS if (log := beside(path, ending)).exists() and log.stat().st_size]
        if not path.stat().st_size and not logs:
            raise BagError(f"{path}: the file is empty")
        self._live = in_use(path)
        try:
            if logs and not self._live:
                self.path = scratch / f"whole_{path.name}"
                take_in_logs(path, self.path)
            for log in logs:
                self.complete = False
                self.problems.append(
                    f"{log.name} holds {log.stat().st_size} bytes that are not in the database yet; read with them. "
                    + ("It is being recorded right now" if self._live else "The recorder did not end")
                )
            self._read_tables(thorough)
        except sqlite3.DatabaseError as error:
            self._salvage(scratch, error)

    def _salvage(self, scratch: Path, error: Exception) -> None:
        broken, self.path = self.path, scratch / f"rows_{self.source.name}"
        self.path.unlink(missing_ok=True)
        try:
            salvage(broken, self.path)
            self._read_tables(False)
        except sqlite3.DatabaseError:
            raise BagError(f"{self.source}: not a readable sqlite3 bag: {error}") from error
        self.complete = False
        kept = sum(channel.count for channel in self.channels)
        self.problems.append(f"the database is damaged ({error}): {kept} messages of it can be read")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        how = "mode=ro" if self._live else "immutable=1"
        with closing(sqlite3.connect(f"file:{quote(str(self.path))}?{how}", uri=True)) as database:
            database.text_factory = lambda data: data.decode("utf-8", "replace")
            yield database

    def _read_tables(self, thorough: bool) -> None:
        with self._open() as database:
            columns = {
                table: {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
                for table in ("topics", "messages", "message_definitions", "metadata")
            }
            if not columns["topics"] or not columns["messages"]:
                raise BagError(f"{self.source}: a database, but no bag: the tables 'topics' and 'messages' are missing")
            if thorough:
                (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
                if found != "ok":
                    raise sqlite3.DatabaseError(found)
                if database.execute(f"SELECT 1 FROM messages WHERE NOT ({SOUND}) LIMIT 1").fetchone():
                    raise sqlite3.DatabaseError("rows that are no messages")
            counts = dict(database.execute("SELECT topic_id, count(*) FROM messages GROUP BY topic_id"))
            self.span: tuple[int, int] | None = None
            if counts:
                first, last = database.execute("SELECT min(timestamp), max(timestamp) FROM messages").fetchone()
                if not isinstance(first, int) or not isinstance(last, int) or first < 0:
                    raise sqlite3.DatabaseError("rows that are no messages")
                self.span = first, last
            definitions = {}
            if columns["message_definitions"]:
                for name, encoding, text in database.execute(
                    "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
                ):
                    definitions[name] = (text, encoding)
            newer = [c for c in ("offered_qos_profiles", "type_description_hash") if c in columns["topics"]]
            chosen = ", ".join(["id", "name", "type", "serialization_format", *newer])
            self._channels = {}
            for number, name, kind, serialization, *rest in database.execute(
                f"SELECT {chosen} FROM topics ORDER BY id"
            ):
                told = dict(zip(newer, rest, strict=True))
                self._channels[number] = Channel(
                    name,
                    kind,
                    counts.get(number, 0),
                    *definitions.get(kind, ("", "")),
                    told.get("type_description_hash") or "",
                    tuple(parse_qos(told.get("offered_qos_profiles") or "")),
                    serialization or CDR,
                )
            self.channels = list(self._channels.values())
            if columns["metadata"]:
                row = database.execute("SELECT metadata FROM metadata ORDER BY id DESC LIMIT 1").fetchone()
                self.embedded = row[0] if row else ""
            self.old_tables = "type_description_hash" not in columns["topics"]

    def messages(self, topics: set[str], start: int | None = None, stop: int | None = None) -> Iterator[Message]:
        """Messages of `topics` in the order of their time stamps, each with its own type."""
        wanted = [number for number, channel in self._channels.items() if channel.topic in topics]
        query = f"SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN ({','.join('?' * len(wanted))})"
        values = list(wanted)
        for bound, sign in ((start, ">="), (stop, "<")):
            if bound is not None:
                query += f" AND timestamp {sign} ?"
                values.append(bound)
        with self._open() as database:
            try:
                for number, time, data in database.execute(query + " ORDER BY timestamp, id", values):
                    if not isinstance(time, int) or not isinstance(data, bytes):
                        raise sqlite3.DatabaseError("a row that is no message")
                    channel = self._channels[number]
                    yield Message(channel.topic, channel.msgtype, time, time, 0, data)
            except sqlite3.DatabaseError as error:
                raise BagError(f"{self.source}: the database is damaged: {error}") from error

    def times(self) -> dict[str, np.ndarray]:
        """Time stamps (ns) by topic."""
        found: dict[str, list[int]] = {}
        with self._open() as database:
            for number, time in database.execute("SELECT topic_id, timestamp FROM messages ORDER BY timestamp, id"):
                if number in self._channels:
                    found.setdefault(self._channels[number].topic, []).append(time)
        return {topic: np.array(times, np.int64) for topic, times in found.items()}

    def mend(self, target: Path) -> str:
        """Write a database that is whole by itself; returns what was done."""
        shutil.copyfile(self.path, target)
        return f"{sum(channel.count for channel in self.channels)} messages kept, in one file without a log"


def beside(path: Path, ending: str) -> Path:
    """The file that SQLite keeps beside a database."""
    return path.with_name(path.name + ending)


def in_use(path: Path) -> bool:
    """Whether another process has the database open (told by SQLite's locks)."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False  # nobody writes what cannot be written
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, LOCK_BYTES, LOCK_BYTE)
        fcntl.lockf(fd, fcntl.LOCK_UN, LOCK_BYTES, LOCK_BYTE)
    except BlockingIOError:
        return True
    except OSError:
        return False  # a file system without locks
    finally:
        os.close(fd)
    return False


def take_in_logs(path: Path, target: Path) -> None:
    """Copy a database and let SQLite bring in its write-ahead log, or roll back what its journal says.

    Raises:
        sqlite3.DatabaseError: database and log do not belong together, or are damaged.
    """
    shutil.copyfile(path, target)
    for ending in LOGS:
        if (log := beside(path, ending)).exists():
            shutil.copyfile(log, beside(target, ending))
    with closing(sqlite3.connect(target)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        database.execute("PRAGMA journal_mode=DELETE").fetchall()
        database.commit()


def salvage(path: Path, target: Path) -> None:
    """Copy every row that can still be read into a new database.

    Raises:
        sqlite3.DatabaseError: not even the names of the tables can be read.
    """
    with (
        closing(sqlite3.connect(f"file:{quote(str(path))}?immutable=1", uri=True)) as source,
        closing(sqlite3.connect(target)) as found,
    ):
        source.execute("PRAGMA writable_schema=ON")  # else a file that is shorter than it should be is not opened
        source.execute("PRAGMA cell_size_check=ON")
        tables = source.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC")
        names = []
        for name, sql in tables.fetchall():
            found.execute(sql)
            if sql.lstrip().upper().startswith("CREATE TABLE"):
                names.append(name)
        for name in names:
            _copy_rows(source, found, name)
        found.commit()


def _copy_rows(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> None:
    """Copy a table in the order of its row numbers, stepping over what cannot be read."""
    last, skip = -1, 1
    quoted = '"' + table.replace('"', '""') + '"'
    query = f"SELECT rowid, * FROM {quoted} WHERE rowid > ? ORDER BY rowid"
    sound = f" AND {SOUND}" if table == "messages" else ""
    while skip < LARGEST_SKIP:
        try:
            for number, *row in source.execute(query.replace(" ORDER", f"{sound} ORDER"), (last,)):
                if number <= last:  # a page that points back
                    raise sqlite3.DatabaseError("rows out of order")
                target.execute(f"INSERT OR IGNORE INTO {quoted} VALUES ({', '.join('?' * len(row))})", row)
                last, skip = number, 1
            return
        except (sqlite3.DatabaseError, OverflowError):
            last, skip = last + skip, skip * 2
