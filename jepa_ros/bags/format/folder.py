# SPDX-License-Identifier: Apache-2.0
"""Which files make up a bag: what metadata.yaml lists, what is there, and which of two copies of a file is read."""

from __future__ import annotations

import re
from pathlib import Path

from jepa_ros.bags import BagError
from jepa_ros.bags.format.metadata import BagMetadata
from jepa_ros.bags.format.storage import Storage
from jepa_ros.bags.format.unpack import is_packed, open_storage, plain_name

_SUFFIXES = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")


class BagFolder:
    """The files of a bag, opened.

    Attributes:
        files: in the order of time.
        metadata: what metadata.yaml says; None where it is missing or says nothing.
        stale: metadata.yaml is missing or does not fit the files.
        superseded: files that are cut or damaged, in whose place another was read.
        problems: what is broken or missing.
    """

    def __init__(self, path: Path, scratch: Path, thorough: bool) -> None:
        """Open a folder, or a single file, as `BagReader` describes it; what is unpacked goes into `scratch`.

        Raises:
            BagError: it does not exist, holds no bag, or nothing in it can be read.
        """
        self.path, self._scratch = path, scratch
        self.problems: list[str] = []
        self.metadata: BagMetadata | None = None
        self.stale = False
        self.superseded: list[Path] = []
        self.files = self._open_all(self._find_files(), thorough)

    def _find_files(self) -> list[list[Path]]:
        """The bag's files in their order; each as the paths that it may be read from, the best first."""
        if not self.path.exists():
            raise BagError(f"{self.path}: no such bag")
        if self.path.is_file():
            if self.path.name == "metadata.yaml":
                raise BagError(f"{self.path}: give the bag's folder, {self.path.parent}")
            return [[self.path]]
        present: dict[str, list[Path]] = {}
        for path in sorted(
            (p for p in self.path.iterdir() if p.is_file() and p.name.endswith(_SUFFIXES)), key=_natural
        ):
            present.setdefault(plain_name(path.name), []).append(path)
        for paths in present.values():
            # `ros2 bag play` leaves what it decompressed beside the compressed file, and a recorder that was killed
            # while it compressed leaves a part beside the whole: the same messages once more.
            paths.sort(key=lambda path: not is_packed(path))
        listed = self._read_metadata()
        if listed is None:
            if not present:
                holds = ", ".join(sorted(p.name for p in self.path.iterdir())[:8]) or "nothing"
                raise BagError(f"{self.path}: no bag in here: no metadata.yaml, no .mcap, no .db3 (it holds {holds})")
            return list(present.values())
        found, missing = [], []
        for name in dict.fromkeys(listed):
            paths = present.pop(plain_name(name), [])
            paths = [p for p in paths if p.name == name] + [p for p in paths if p.name != name]
            if not paths:
                missing.append(name)
                self._stale(f"{name}: listed in metadata.yaml, but the file is missing")
            elif paths[0].name != name:
                self._stale(f"{name}: listed in metadata.yaml, found as {paths[0].name}")
            found += [paths] if paths else []
        # A recorder that was killed just after a split has a file more than metadata.yaml says; or one was renamed.
        for paths in present.values():
            self._stale(f"{paths[0].name}: not listed in metadata.yaml; read all the same")
            found.append(paths)
        if not found:
            raise BagError(f"{self.path}: every file that metadata.yaml lists is missing: {', '.join(sorted(missing))}")
        return found

    def _stale(self, problem: str) -> None:
        """Note something that metadata.yaml says wrongly."""
        self.stale = True
        self.problems.append(problem)

    def _read_metadata(self) -> list[str] | None:
        """The names of the files that metadata.yaml lists; None where it is missing or says nothing."""
        path = self.path / "metadata.yaml"
        if not path.exists():
            self._stale("metadata.yaml is missing; the topics were read from the files")
            return None
        try:
            self.metadata = BagMetadata.parse(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise BagError(f"{path}: cannot be read: {error}") from error
        except BagError as error:
            raise BagError(f"{path}: {error}") from None
        except ValueError as error:
            self._stale(f"metadata.yaml: {error}; the topics were read from the files")
            return None
        return self.metadata.files

    def _open_all(self, units: list[list[Path]], thorough: bool) -> list[Storage]:
        files: list[Storage] = []
        errors: list[str] = []
        for paths in units:
            storage = self._open_best(paths, errors, thorough)
            if storage is not None:
                files.append(storage)
                self.problems += [f"{storage.source.name}: {problem}" for problem in storage.problems]
        if not files:
            raise BagError(errors[0] if len(errors) == 1 else f"{self.path}: no file can be read: {'; '.join(errors)}")
        self.problems += errors
        return sorted(files, key=lambda storage: storage.span or (2**63, 0))

    def _open_best(self, paths: list[Path], errors: list[str], thorough: bool) -> Storage | None:
        """The first whole one of the paths of a file, else the one that holds most."""
        opened: list[Storage] = []
        failed: list[str] = []
        for path in paths:
            try:
                storage = open_storage(path, self._scratch, thorough=thorough)
            except BagError as error:
                failed.append(str(error))
                continue
            opened.append(storage)
            if storage.complete:
                break
        best = max(opened, key=lambda storage: sum(channel.count for channel in storage.channels), default=None)
        if best is None:
            errors += failed
        elif best.source != paths[0]:
            self._stale(f"{paths[0].name}: cut or damaged; {best.source.name} beside it was read in its place")
            self.superseded.append(paths[0])
        return best


def _natural(path: Path) -> list:
    """Sort key that puts x_10 behind x_9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
