# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros check model`` for other people's models: does it fit the contract, and this machine's time budget?

Known are folders of stable-worldmodel (``config.json`` with a ``_target_``, one ``.pt`` file) and of Hugging Face's
V-JEPA 2 (``config.json`` with the model type ``vjepa2``). Weights are read without pickle's code, and a config may only
name classes of :data:`PACKAGES`.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jepa_ros.contract import RobotContract, load_contract
from jepa_ros.errors import JepaRosError

#: A config cannot make anything be imported but these.
PACKAGES = ("stable_worldmodel.", "stable_pretraining.", "torch.nn.", "transformers.")
REPEATS = 5


class ForeignCheckError(JepaRosError):
    """A folder that holds no model of a known kind; the message names the file and key."""


def kind_of(folder: Path) -> str | None:
    """ "stable-worldmodel", "vjepa2", or None where it is nothing of the two."""
    config = folder / "config.json"
    if not config.is_file():
        return None
    content = _read(config)
    if content.get("model_type") == "vjepa2":
        return "vjepa2"
    return "stable-worldmodel" if "_target_" in content else None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ForeignCheckError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise ForeignCheckError(f"{path}: expected an object, found {type(content).__name__}")
    return content


def build(config: Any, where: str) -> Any:
    """What a config of ``_target_`` and arguments describes.

    Raises:
        ForeignCheckError: a class of another package, or one that cannot be made; names the key.
    """
    if isinstance(config, list):
        return [build(item, f"{where}[{i}]") for i, item in enumerate(config)]
    if not isinstance(config, dict):
        return config
    values = {k: build(v, f"{where}.{k}") for k, v in config.items() if k != "_target_"}
    if "_target_" not in config:
        return values
    target = str(config["_target_"])
    if not target.startswith(PACKAGES):
        raise ForeignCheckError(f"{where}._target_: '{target}' is none of {', '.join(p + '*' for p in PACKAGES)}")
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)(**values)
    except ImportError as error:
        raise ForeignCheckError(f"{where}._target_: '{target}' cannot be imported: {error}") from None
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise ForeignCheckError(f"{where}: '{target}' cannot be made: {' '.join(str(error).split())[:300]}") from None


def load_stable_worldmodel(folder: Path) -> Any:
    """The model of a folder that stable-worldmodel's ``save_pretrained`` wrote.

    Raises:
        ForeignCheckError: no or several weight files, or weights that do not fit.
    """
    import torch

    weights = sorted(folder.glob("*.pt"))
    if len(weights) != 1:
        raise ForeignCheckError(f"{folder}: expected one .pt file, found {len(weights)}")
    model = build(_read(folder / "config.json"), str(folder / "config.json"))
    try:
        model.load_state_dict(torch.load(weights[0], map_location="cpu", weights_only=True))
    except Exception as error:
        raise ForeignCheckError(f"{weights[0]}: {' '.join(str(error).split())[:300]}") from None
    return model.eval()


def check_foreign(folder: Path, kind: str, robot: str | None, threads: int, share: float) -> int:
    """Load the model, try what the planner or perception calls, and time it.

    Args:
        share: of the control period that it may take.
    """
    import torch

    torch.set_num_threads(threads)
    contract = load_contract(robot or "arena")
    taken = _check_vjepa2(folder, contract) if kind == "vjepa2" else _check_world(folder, contract)
    budget = share * 1e3 * contract.period
    print(f"  budget {budget:.0f} ms of the control period, {threads} thread{'s' if threads > 1 else ''}")
    if taken > budget:
        print(
            f"does not fit: {taken:.0f} ms is over the budget of {budget:.0f} ms; use a smaller model or fewer samples"
        )
        return 1
    print("ok")
    return 0


def _check_world(folder: Path, contract: RobotContract) -> float:
    import torch

    from jepa_ros.cost import Goal
    from jepa_ros.planning import Search, SearchConfig
    from jepa_ros.world_model.foreign import LatentWorld

    model = load_stable_worldmodel(folder)
    count = sum(p.numel() for p in model.parameters())
    print(f"{folder}: {type(model).__name__} of stable-worldmodel, {count:,} parameters, for robot '{contract.name}'")
    width, height = contract.cameras[0].size
    pictures = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    world = LatentWorld(model, contract.action_dim, pictures[0])
    print(f"  latent of {world.config.latent_dim} values, {contract.action_dim} action values")
    z, goal = world.encode_pictures(pictures)
    config = SearchConfig(backend="model", deadline=1e3)
    search = Search(world, config, contract)
    target, h = Goal.from_latent(goal.numpy()), world.initial_state(1)[0]
    encode = _milliseconds(lambda i: world.encode_pictures(pictures[:1]))
    plan = _milliseconds(lambda i: search.plan(z, h, target, seed=i, iterations=3))
    print(f"  encode {encode:.1f} ms, plan {plan:.1f} ms (median; {config.horizon} x {config.samples} x 3)")
    return encode + plan


def _check_vjepa2(folder: Path, contract: RobotContract) -> float:
    import torch

    from jepa_ros.perception.vjepa2 import VJepa2Encoder
    from jepa_ros.world_model import ModelConfig

    encoder = VJepa2Encoder.from_folder(folder, ModelConfig().latent_dim)
    count = sum(p.numel() for p in encoder.parameters())
    print(f"{folder}: V-JEPA 2 encoder, {count:,} parameters, pictures of {encoder.size}x{encoder.size}")
    width, height = contract.cameras[0].size
    images = torch.randint(0, 255, (1, height, width, 3), dtype=torch.uint8)
    if not bool(torch.isfinite(encoder(images)).all()):
        raise ForeignCheckError(f"{folder}: its latents of a picture are not finite")
    encode = _milliseconds(lambda i: encoder(images))
    print(f"  encode {encode:.1f} ms (median); it has no predictor for actions: train one on its latents")
    return encode


def _milliseconds(work: Callable[[int], Any]) -> float:
    times = []
    for i in range(REPEATS + 1):
        start = time.perf_counter()
        work(i)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times[1:]))
