# SPDX-License-Identifier: Apache-2.0
"""Models by their name on Hugging Face, ``hf:OWNER/NAME``: read from the cache on this machine, never fetched.

``hf download OWNER/NAME`` fills the cache. Needs neither torch nor the network.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from jepa_ros.errors import JepaRosError

PREFIX = "hf:"
_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
#: Endings of files that Python unpickles: loading one may run whatever its author likes.
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")


class HubError(JepaRosError):
    """A model that is not in the cache, or no model; the message says how to get it."""


def cache() -> Path:
    """The folder of the cache: HF_HUB_CACHE, or ``hub`` in HF_HOME, which is in the user's cache."""
    if found := os.environ.get("HF_HUB_CACHE"):
        return Path(found).expanduser()
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or f"{user}/huggingface").expanduser() / "hub"


def cached(name: str) -> Path:
    """The folder of the model ``hf:OWNER/NAME``, or of a branch, tag or commit of it, ``hf:OWNER/NAME@REVISION``.

    Raises:
        HubError: it is no such name, it is not in the cache, or it holds no weights that can be loaded safely.
    """
    found = _NAME.fullmatch(name.removeprefix(PREFIX))
    if found is None or ".." in name:
        raise HubError(f"'{name}': expected {PREFIX}OWNER/NAME or {PREFIX}OWNER/NAME@REVISION")
    repo, revision = found["repo"], found["revision"] or "main"
    folder = _by_library(repo, revision) or _by_layout(repo, revision)
    if folder is None:
        wanted = f"hf download {repo}" + (f" --revision {revision}" if found["revision"] else "")
        raise HubError(f"{name}: not in the cache {cache()}: fetch it once with `{wanted}`")
    refuse_pickle(folder, name)
    return folder


def refuse_pickle(folder: Path, name: str) -> None:
    """Refuse a folder whose weights are pickled, and those alone.

    Raises:
        HubError: it is one.
    """
    files = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
    pickled = [f for f in files if f.endswith(PICKLED)]
    if pickled and not any(f.endswith(".safetensors") for f in files):
        raise HubError(
            f"{name}: its weights are pickled ({pickled[0]}), which can run code: they are never loaded; ask for "
            "safetensors"
        )


def _by_library(repo: str, revision: str) -> Path | None:
    """What huggingface_hub says, where it is installed."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        return None
    try:
        return Path(snapshot_download(repo, revision=revision, cache_dir=cache(), local_files_only=True))
    except (OSError, ValueError):  # not there, or a file of it is missing
        return None


def _by_layout(repo: str, revision: str) -> Path | None:
    """The same by the layout of the cache: ``refs/REVISION`` names a commit, ``snapshots/COMMIT`` has its files."""
    folder = cache() / f"models--{repo.replace('/', '--')}"
    ref = folder / "refs" / revision
    commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else revision
    snapshot = folder / "snapshots" / commit
    return snapshot if commit and snapshot.is_dir() else None
