# SPDX-License-Identifier: Apache-2.0
"""metadata.yaml of rosbag2, versions 1 (Dashing) to 9 (Jazzy): read and written."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from jepa_ros.bags import BagError
from jepa_ros.bags.format.mcap_storage import McapStorage
from jepa_ros.bags.format.storage import Channel, parse_qos

if TYPE_CHECKING:
    from jepa_ros.bags.format.reader import BagReader

KEY = "rosbag2_bagfile_information"
NEWEST = 9


@dataclass
class BagMetadata:
    """What a bag's metadata says.

    Attributes:
        information: all of it, as it was read.
        files: names of the files. compression: "", "file" or "message".
        counts: messages by topic. qos: publishers' profiles by topic. hashes: of the types, by topic and type.
    """

    version: int
    information: dict[str, Any]
    files: list[str] = field(default_factory=list)
    compression: str = ""
    distro: str = ""
    custom_data: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    qos: dict[str, tuple[dict, ...]] = field(default_factory=dict)
    hashes: dict[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> BagMetadata:
        """Take the YAML text apart.

        Raises:
            ValueError: it is not such a text; says what was found.
            BagError: it is, but of a compression that is not known.
        """
        try:
            loaded = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            raise ValueError(f"{f'line {mark.line + 1}: ' if mark else ''}not YAML") from None
        try:
            information = loaded.get(KEY, loaded)  # inside a file it stands without the key
            found = cls(int(information["version"]), information)
            found.files = [PurePosixPath(name).name for name in information["relative_file_paths"]]
            found.compression = str(information.get("compression_mode") or "").lower()
            found.compression = "" if found.compression == "none" else found.compression
            method = str(information.get("compression_format") or "")
            found.distro = str(information.get("ros_distro") or "")
            found.custom_data = {str(k): str(v) for k, v in (information.get("custom_data") or {}).items()}
            for entry in information.get("topics_with_message_count") or []:
                topic = entry["topic_metadata"]
                name = topic["name"]
                found.counts[name] = found.counts.get(name, 0) + int(entry["message_count"])
                qos = parse_qos(topic.get("offered_qos_profiles", ""))
                found.qos[name] = (*found.qos.get(name, ()), *qos)
                found.hashes[name, str(topic["type"])] = str(topic.get("type_description_hash") or "")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
            raise ValueError(what) from None
        if found.compression in ("file", "message") and method != "zstd":
            raise BagError(f"compression_format: found {method!r}; only zstd is known")
        return found


def compose(bag: BagReader, before: BagReader, compression: str) -> dict[str, Any]:
    """The metadata of a bag from what its files hold.

    Args:
        bag: with its files as they are to be listed.
        before: the bag as it was. What its metadata said and the files do not is kept, and so is its version, so that
            the distribution that recorded the bag reads it.
        compression: "", "file" or "message".
    """
    said = before.metadata or before.embedded
    information = copy.deepcopy(said.information) if said else {}
    version = said.version if said else _version_for(bag)
    folder = before.path.resolve().name
    known = {(c.topic, c.msgtype): c for info in before.topics.values() for c in info.channels}
    channels = []
    for channel in (channel for info in bag.topics.values() for channel in info.channels):
        was = known.get((channel.topic, channel.msgtype), channel)
        channels.append(replace(channel, qos=channel.qos or was.qos, type_hash=channel.type_hash or was.type_hash))
    names = [storage.source.name for storage in bag.files]
    kinds = {"mcap" if isinstance(storage, McapStorage) else "sqlite3" for storage in bag.files}
    information |= {
        "version": version,
        "storage_identifier": kinds.pop(),
        "relative_file_paths": [f"{folder}/{name}" if version < 4 else name for name in names],
        "duration": {"nanoseconds": bag.end - bag.start},
        "starting_time": {"nanoseconds_since_epoch": bag.start},
        "message_count": bag.message_count,
        "topics_with_message_count": [
            {"topic_metadata": _described(channel, version), "message_count": channel.count} for channel in channels
        ],
    }
    if version >= 3:
        information["compression_format"] = "zstd" if compression else ""
        information["compression_mode"] = compression
    if version >= 5:
        information["files"] = [
            {
                "path": storage.source.name,
                "starting_time": {"nanoseconds_since_epoch": storage.span[0] if storage.span else 0},
                "duration": {"nanoseconds": storage.span[1] - storage.span[0] if storage.span else 0},
                "message_count": sum(channel.count for channel in storage.channels),
            }
            for storage in bag.files
        ]
    if version >= 6:
        information["custom_data"] = before.custom_data or None
    if version >= 8:
        information.setdefault("ros_distro", "jazzy" if version >= NEWEST else "")
    return information


def _described(channel: Channel, version: int) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": channel.topic,
        "type": channel.msgtype,
        "serialization_format": channel.serialization,
    }
    if version >= 4:
        entries = [dict(entry) for entry in channel.qos]
        text = yaml.safe_dump(entries, sort_keys=False).strip() if entries else ""
        described["offered_qos_profiles"] = entries if version >= NEWEST else text
    if version >= 7:
        described["type_description_hash"] = channel.type_hash
    return described


def _version_for(bag: BagReader) -> int:
    """The version that the recorder of the files wrote: the newest has names in its QoS, those before it numbers."""
    channels = [channel for info in bag.topics.values() for channel in info.channels]
    numbers = any(isinstance(entry.get("reliability"), int) for channel in channels for entry in channel.qos)
    hashes = any(channel.type_hash for channel in channels)
    old = any(getattr(storage, "old_tables", False) for storage in bag.files)
    if numbers or old:
        return 8 if hashes else 5
    return NEWEST


class _Dumper(yaml.SafeDumper):
    """No anchors: other YAML readers of metadata.yaml need not know them."""

    def ignore_aliases(self, data) -> bool:
        return True


def metadata_text(information: dict) -> str:
    """The YAML text of metadata, as other YAML readers take it."""
    return yaml.dump(information, Dumper=_Dumper, sort_keys=False)


def write_metadata(folder: Path, information: dict) -> None:
    """Write metadata.yaml whole or not at all.

    Raises:
        OSError: the disk refuses; an earlier metadata.yaml is left as it was.
    """
    text = metadata_text({KEY: information})
    temporary = folder / ".metadata.yaml.tmp"
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, folder / "metadata.yaml")
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
