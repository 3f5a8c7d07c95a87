# SPDX-License-Identifier: Apache-2.0
"""The one reader of bags, for info, dataset and replay alike: MCAP and sqlite3, compressed, split, whole or broken.

metadata.yaml of rosbag2 versions 1 (Dashing) to 9 (Jazzy) is read where there is one; the files themselves are the
authority, so a bag without it, with a stale one (a killed recorder) or with a torn last file is read as far as it goes,
and `problems` says what is missing.
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
import zstandard

from jepa_ros.bags import BagError
from jepa_ros.bags.storage import Message, Storage, TopicInfo, open_storage, parse_qos

_SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
_STORES = {1: "DASHING", 2: "ELOQUENT", 3: "FOXY", 4: "GALACTIC", 5: "HUMBLE", 6: "IRON", 7: "IRON", 8: "IRON"}


@cache
def typestore(distro: str = "JAZZY"):
    """rosbags' table of the common message types of a ROS distribution (Jazzy's where it knows none)."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(getattr(Stores, f"ROS2_{distro.upper()}", Stores.ROS2_JAZZY))


class BagReader:
    """A bag, opened for reading. Use it as a context manager, or call `close`.

    Attributes:
        topics: what it holds, by topic name.
        files: its files in the order of time.
        start, end: first and last log time in ns; 0, 0 when it is empty.
        custom_data: texts that the recorder put in (see CONTRACT_KEY and others in jepa_ros.bags).
        version: of metadata.yaml; 0 when there is none.
        problems: what is broken or missing, each with its file and, for MCAP, the byte.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a bag's folder or a single file of one.

        Raises:
            BagError: it does not exist, holds no bag, or nothing in it can be read.
        """
        self.path = Path(path)
        self.problems: list[str] = []
        self.version, self.distro = 0, ""
        self.compression_mode = ""
        self.custom_data: dict[str, str] = {}
        self._scratch = tempfile.TemporaryDirectory(prefix="jepa_ros_bag_")
        self._store: Any = None
        self._qos: dict[str, tuple[dict, ...]] = {}
        try:
            self.files = self._open_all(self._find_files())
        except BaseException:
            self._scratch.cleanup()
            raise
        self.topics = self._merge_topics()
        spans = [storage.span for storage in self.files if storage.span != (0, 0)]
        self.start = min((span[0] for span in spans), default=0)
        self.end = max((span[1] for span in spans), default=0)
        self._read_custom_data()

    # ------------------------------------------------------------------ opening
    def _find_files(self) -> list[Path]:
        if not self.path.exists():
            raise BagError(f"{self.path}: no such bag")
        if self.path.is_file():
            if self.path.name == "metadata.yaml":
                raise BagError(f"{self.path}: give the bag's folder, {self.path.parent}")
            return [self.path]
        present = sorted((p for p in self.path.iterdir() if p.is_file() and p.name.endswith(_SUFFIXES)), key=_natural)
        # `ros2 bag play` leaves what it decompressed beside the compressed file: the same messages once more.
        present = [p for p in present if not p.with_name(f"{p.name}.zstd").exists()]
        listed = self._read_metadata()
        if listed is None:
            if not present:
                holds = ", ".join(sorted(p.name for p in self.path.iterdir())[:8]) or "nothing"
                raise BagError(f"{self.path}: no bag in here: no metadata.yaml, no .mcap, no .db3 (it holds {holds})")
            if not self.problems:
                self.problems.append("metadata.yaml is missing; the topics were read from the files")
            return present
        names = {p.name for p in listed}
        missing = [p for p in listed if not p.exists()]
        for path in missing:
            self.problems.append(f"{path.name}: listed in metadata.yaml, but the file is missing")
        # A recorder that was killed just after a split has a file more than metadata.yaml says.
        unlisted = [p for p in present if p.name not in names and not missing]
        for path in unlisted:
            self.problems.append(f"{path.name}: not listed in metadata.yaml; read all the same")
        found = [p for p in listed if p.exists()] + unlisted
        if not found:
            raise BagError(f"{self.path}: every file that metadata.yaml lists is missing: {', '.join(sorted(names))}")
        return found

    def _read_metadata(self) -> list[Path] | None:
        path = self.path / "metadata.yaml"
        if not path.exists():
            return None
        try:
            text = path.read_text(encoding="utf-8")
            information = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            information = information["rosbag2_bagfile_information"]
            self.version = int(information["version"])
            names = [PurePosixPath(name).name for name in information["relative_file_paths"]]
            self.compression_mode = str(information.get("compression_mode") or "").lower()
            compression = str(information.get("compression_format") or "")
            self.distro = str(information.get("ros_distro") or "")
            self.custom_data = {str(k): str(v) for k, v in (information.get("custom_data") or {}).items()}
            for topic in information.get("topics_with_message_count") or []:
                described = topic["topic_metadata"]
                self._qos[described["name"]] = tuple(parse_qos(described.get("offered_qos_profiles", "")))
        except (OSError, UnicodeDecodeError) as error:
            raise BagError(f"{path}: cannot be read: {error}") from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"line {mark.line + 1}: " if mark else ""
            self.problems.append(f"metadata.yaml: {where}not YAML; the topics were read from the files")
            return None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
            self.problems.append(f"metadata.yaml: {what}; the topics were read from the files")
            return None
        if self.compression_mode in ("file", "message") and compression != "zstd":
            raise BagError(f"{path}: compression_format: found {compression!r}; only zstd is known")
        return [self.path / name for name in names]

    def _open_all(self, paths: list[Path]) -> list[Storage]:
        files, errors = [], []
        for path in paths:
            try:
                storage = open_storage(path, Path(self._scratch.name))
            except BagError as error:
                errors.append(str(error))
                continue
            files.append(storage)
            self.problems += [f"{path.name}: {problem}" for problem in storage.problems]
        if not files:
            raise BagError(errors[0] if len(errors) == 1 else f"{self.path}: no file can be read: {'; '.join(errors)}")
        self.problems += errors
        return sorted(files, key=lambda storage: storage.span if storage.span != (0, 0) else (2**63, 0))

    def _merge_topics(self) -> dict[str, TopicInfo]:
        merged: dict[str, TopicInfo] = {}
        for storage in self.files:
            for name, info in storage.topics.items():
                if name in merged:
                    merged[name].count += info.count
                    if not merged[name].definition:
                        merged[name].definition, merged[name].encoding = info.definition, info.encoding
                else:
                    merged[name] = TopicInfo(**{**vars(info), "qos": info.qos or self._qos.get(name, ())})
        return dict(sorted(merged.items()))

    def _read_custom_data(self) -> None:
        for storage in self.files:
            scan = getattr(storage, "scan", None)
            if scan is not None:
                for key, value in scan.read_metadata().get("jepa_ros", {}).items():
                    self.custom_data.setdefault(key, value)

    # ------------------------------------------------------------------ reading
    @property
    def complete(self) -> bool:
        """True when nothing is broken or missing."""
        return not self.problems

    @property
    def message_count(self) -> int:
        """All messages."""
        return sum(info.count for info in self.topics.values())

    def attachments(self) -> dict[str, tuple[str, bytes]]:
        """MCAP attachments: name -> (media type, bytes); of several files the first one's."""
        found: dict[str, tuple[str, bytes]] = {}
        for storage in self.files:
            scan = getattr(storage, "scan", None)
            for name, value in (scan.read_attachments() if scan is not None else {}).items():
                found.setdefault(name, value)
        return found

    def messages(
        self, topics: list[str] | set[str] | None = None, start: int | None = None, stop: int | None = None
    ) -> Iterator[Message]:
        """Messages in the order of their log time; `start` <= time < `stop` in ns, `topics` None means all.

        Raises:
            BagError: a topic is not in the bag (it says what is), or a file is damaged where it is read.
        """
        wanted = set(self.topics if topics is None else topics)
        if topics is not None:
            self.require(*wanted)
        stream = self._ordered(wanted, start, stop)
        # Where metadata.yaml is missing nothing but the messages says that they are compressed.
        return self._decompressed(stream) if self.compression_mode == "message" or not self.version else stream

    def _ordered(self, wanted: set[str], start: int | None, stop: int | None) -> Iterator[Message]:
        groups: list[list[Storage]] = []
        latest = -1
        for storage in self.files:
            if storage.span == (0, 0):
                continue
            if groups and storage.span[0] <= latest:
                groups[-1].append(storage)
            else:
                groups.append([storage])
            latest = max(latest, storage.span[1])
        for group in groups:
            if len(group) == 1:
                yield from group[0].messages(wanted, start, stop)
            else:  # files that overlap in time
                streams = [storage.messages(wanted, start, stop) for storage in group]
                yield from heapq.merge(*streams, key=lambda message: message.time)

    def _decompressed(self, stream: Iterator[Message]) -> Iterator[Message]:
        for message in stream:
            if not self.version and not message.data.startswith(zstandard.FRAME_HEADER):  # CDR begins with a zero
                yield message
                continue
            try:
                yield message._replace(data=zstandard.ZstdDecompressor().decompressobj().decompress(message.data))
            except zstandard.ZstdError as error:
                raise BagError(
                    f"{self.path}: {message.topic}: the message of time {message.time} cannot be decompressed: {error}"
                ) from error

    def require(self, *topics: str) -> None:
        """Check that topics are there.

        Raises:
            BagError: one is not; the message lists what is.
        """
        for topic in topics:
            if topic not in self.topics:
                has = ", ".join(f"{info.name} ({info.msgtype})" for info in self.topics.values()) or "no topic at all"
                raise BagError(f"{self.path}: no topic {topic} in this bag; it has {has}")

    def deserialize(self, message: Message):
        """The message as an object with the fields of its type (arrays are numpy arrays).

        Raises:
            BagError: its bytes do not fit its type, or the type is unknown.
        """
        from rosbags.serde import SerdeError

        store = self._types()
        if message.msgtype not in store.fielddefs:
            raise BagError(self._unknown(message.msgtype))
        try:
            return store.deserialize_cdr(message.data, message.msgtype)
        except (SerdeError, KeyError, AssertionError, ValueError, IndexError) as error:
            raise BagError(
                f"{self.path}: {message.topic}: the message of time {message.time} is not a {message.msgtype}: {error}"
            ) from error

    def fields(self, msgtype: str) -> list[str]:
        """The types of a message type's fields, where a field is itself a message (else ''), in their order.

        Raises:
            BagError: the type is unknown.
        """
        from rosbags.interfaces import Nodetype

        store = self._types()
        if msgtype not in store.fielddefs:
            raise BagError(self._unknown(msgtype))
        return [node[1] if node[0] == Nodetype.NAME else "" for _, node in store.fielddefs[msgtype][1]]

    def _unknown(self, msgtype: str) -> str:
        return f"{self.path}: type {msgtype} is defined neither in the bag nor among the common types"

    def _types(self):
        if self._store is None:
            from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore

            base = typestore(self.distro or _STORES.get(self.version, "JAZZY"))
            # Events of services and actions: nothing here reads them, nor can their texts be parsed.
            new = [i for i in self.topics.values() if "/msg/" in i.msgtype and i.definition]
            new = [info for info in new if info.msgtype not in base.fielddefs]
            store = base
            if new:
                store = get_typestore(Stores.EMPTY)
                store.register({name: value for name, value in base.fielddefs.items()})
            for info in new:
                try:
                    if info.encoding == "ros2msg":
                        store.register(get_types_from_msg(info.definition, info.msgtype))
                    elif info.encoding == "ros2idl":
                        parts = info.definition.split("=" * 80 + "\n")
                        for part in parts[1:] if len(parts) > 1 else parts:
                            store.register(get_types_from_idl(part.split("\n", 1)[1] if len(parts) > 1 else part))
                except TypesysError as error:
                    self.problems.append(f"{info.name}: its definition of {info.msgtype} cannot be read: {error}")
            self._store = store
        return self._store

    def close(self) -> None:
        """Remove what was decompressed."""
        self._scratch.cleanup()

    def __enter__(self) -> BagReader:
        """Use as a context manager."""
        return self

    def __exit__(self, kind, value, trace) -> None:
        """Close."""
        self.close()


def _natural(path: Path) -> list:
    """Sort key that puts x_10 behind x_9."""
    import re

    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
