# SPDX-License-Identifier: Apache-2.0
"""Models of Hugging Face's cache: found by their name with and without its library, safe to load, with a README."""

import builtins
import json
import shutil

import pytest
import yaml

from jepa_ros.contract import load_contract, share_dir
from jepa_ros.hub import HubError, cached
from jepa_ros.nodes.models import read_card
from jepa_ros.nodes.params import ParameterError
from jepa_ros.world_model import load_checkpoint, resolve_model, save_checkpoint
from jepa_ros.world_model.readme import MARK

SHIPPED = share_dir() / "models" / "arena"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A cache as `hf download` leaves it, with the model team/arena."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "models--team--arena"
    snapshot = folder / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (folder / "blobs").mkdir()
    for name in ("card.json", "model.safetensors"):
        shutil.copy(SHIPPED / name, folder / "blobs" / name)
        (snapshot / name).symlink_to(f"../../blobs/{name}")
    for ref in ("main", "v1"):
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / ref).write_text(COMMIT)
    return folder


@pytest.fixture(params=[True, False], ids=["with huggingface_hub", "without"])
def library(request, monkeypatch):
    """Whether the library is there."""
    if request.param:
        pytest.importorskip("huggingface_hub")
        return
    real = builtins.__import__

    def no(name, *args, **kwargs):
        if name.partition(".")[0] == "huggingface_hub":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no)


def test_a_model_is_found_by_its_name_and_revision(home, library):
    for name in ("hf:team/arena", "hf:team/arena@v1", f"hf:team/arena@{COMMIT}"):
        assert resolve_model(name) == home / "snapshots" / COMMIT
    _, card = load_checkpoint("hf:team/arena", load_contract("arena"))
    assert card == read_card("hf:team/arena")


def test_a_model_that_is_not_there_says_how_to_fetch_it(home, library):
    with pytest.raises(HubError, match=r"not in the cache .*hub: fetch it once with `hf download team/other`"):
        cached("hf:team/other")
    with pytest.raises(HubError, match="--revision v2"):
        cached("hf:team/arena@v2")
    with pytest.raises(ParameterError, match="not in the cache"):
        read_card("hf:team/other")


@pytest.mark.parametrize("name", ["hf:arena", "hf:", "hf:a/b/c", "hf:../../etc/x", "hf:team/.."])
def test_what_is_no_name_is_refused(home, name):
    with pytest.raises(HubError, match="expected hf:OWNER/NAME"):
        cached(name)


def test_pickled_weights_are_refused(home):
    snapshot = home / "snapshots" / COMMIT
    (snapshot / "model.safetensors").unlink()
    (snapshot / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    with pytest.raises(HubError, match=r"its weights are pickled \(pytorch_model\.bin\), which can run code"):
        load_checkpoint("hf:team/arena")


def test_a_checkpoint_has_a_readme_with_metadata_that_its_owner_may_replace(tmp_path):
    model, card = load_checkpoint("arena")
    save_checkpoint(tmp_path / "mine", model, card)
    path = tmp_path / "mine" / "README.md"
    _, head, text = path.read_text().split("---\n", 2)
    metadata = yaml.safe_load(head)
    assert metadata["library_name"] == "jepa_ros" and "arena" in metadata["tags"]
    assert f"{card['parameters']:,}" in text and MARK in text
    path.write_text("My own words.\n")
    save_checkpoint(tmp_path / "mine", model, card)
    assert path.read_text() == "My own words.\n"
    json.loads((tmp_path / "mine" / "card.json").read_text())
