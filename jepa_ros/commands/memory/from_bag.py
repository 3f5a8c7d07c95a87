# SPDX-License-Identifier: Apache-2.0
"""``jepa-ros memory from BAG ... --out DIR``: recorded drives become the long-term memory that they would have left."""

from __future__ import annotations

import argparse
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from jepa_ros.bags import BagError
from jepa_ros.bags.format.reader import BagReader
from jepa_ros.errors import JepaRosError
from jepa_ros.files import add_json, write_json
from jepa_ros.memory.store import FILE, Store, StoreError
from jepa_ros.options import positive
from jepa_ros.progress import Progress

#: Cuts that are listed of each bag.
LISTED = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("bags", nargs="+", metavar="BAG", help="bags (folders or files), in the order of their drives")
    parser.add_argument("--out", type=Path, required=True, help="folder of the memory; it must not hold one")
    parser.add_argument("--robot", help="contract: a name or a YAML file (default: the one in the bag)")
    parser.add_argument("--model", default="", help="checkpoint: a folder or a shipped name (default: the robot's)")
    parser.add_argument("--namespace", default="", help="namespace of the robot in the bag")
    parser.add_argument("--image", default="", metavar="TOPIC", help="topic of the images (default: the contract's)")
    parser.add_argument("--threads", type=positive, default=1, help="compute threads (default: 1)")
    add_json(parser, "write the report for machines")


def main(args: argparse.Namespace) -> int:
    """Run the command."""
    import torch

    from jepa_ros.bags.identity import contract_of
    from jepa_ros.bags.replay.read import read_recording
    from jepa_ros.bags.tour import Tour
    from jepa_ros.perception import Perception
    from jepa_ros.planning.bodies import new_memory
    from jepa_ros.planning.planner import Planner
    from jepa_ros.world_model.checkpoint import load_checkpoint, model_id

    if (args.out / FILE).exists():
        raise StoreError(f"{args.out} holds a memory already: choose another folder, and join the two by merge")
    torch.set_num_threads(args.threads)
    told: dict[str, Any] = {"bags": {}}
    with ExitStack() as opened, Progress() as progress:
        readers = [opened.enter_context(BagReader(bag)) for bag in args.bags]
        contract = contract_of(readers[0], args.robot)
        for reader in readers[1:]:
            if lines := contract.model_differences(contract_of(reader, args.robot)):
                raise BagError(f"{reader.path} was recorded with another contract:\n  " + "\n  ".join(lines))
        model, card = load_checkpoint(args.model or contract.name, contract)
        tour: Tour | None = None
        memory = new_memory(contract, model.config.latent_dim, lambda: 0.0 if tour is None else tour.now)
        with closing(Planner(model, contract, card=card, memory=memory)) as planner:
            for reader in readers:
                recording = read_recording(reader, contract, args.namespace, args.image)
                tour = Tour(recording, Perception(model, contract), planner)
                planner.reset()  # nobody knows where the robot was between two bags
                found = tour.run(progress.task(Path(reader.path).name).update)
                others = sorted({a.content[1] for a in recording.identities if a.content[0].startswith("model/")})
                told["bags"][str(reader.path)] = {
                    "steps": found.steps, "cuts": found.cuts, "refused": found.refused,
                    "models": [other for other in others if other != model_id(card)], "problems": reader.problems,
                }  # fmt: skip
        if not any(entry["steps"] for entry in told["bags"].values()):
            raise BagError("\n".join(["no image could be taken in, and no memory is made", *_lines(told)]))
        store = Store(args.out, model_id(card), contract, memory)
        store.close()
    if store.trouble:
        raise JepaRosError(store.trouble)
    told |= {"states": len(memory), "steps": sum(entry["steps"] for entry in told["bags"].values())}
    for annex in memory.annexes:
        told |= annex.counts()
    counts = ", ".join(f"{told[name]} {name}" for name in told if name not in ("bags", "steps"))
    print("\n".join([*_lines(told), f"{args.out}: {counts}"]))
    if args.json:
        write_json(args.json, told)
    return 0


def _lines(told: dict[str, Any]) -> list[str]:
    """What came of each bag, as text."""
    lines = []
    for path, entry in told["bags"].items():
        lines.append(f"{path}: {entry['steps']} steps, {len(entry['cuts'])} cuts")
        lines += [f"  cut at {at:.1f} s: {why}" for at, why in entry["cuts"][:LISTED]]
        if (more := len(entry["cuts"]) - LISTED) > 0:
            lines.append(f"  and {more} more")
        if entry["refused"]:
            lines.append(f"  {len(entry['refused'])} images could not be taken in, the first: {entry['refused'][0]}")
        lines += [f"  note: model {other} ran then; its latents are not used" for other in entry["models"]]
        lines += [f"  problem: {problem}" for problem in entry["problems"]]
    return lines
