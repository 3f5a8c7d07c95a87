# SPDX-License-Identifier: Apache-2.0
"""In what two contracts differ, and in what of it a model depends on."""

from __future__ import annotations

from typing import Any

#: Keys of the kinematics that a model depends on. Where the URDF lies, which pairs of links the gate leaves out and
#: where the tip may go can change without retraining.
MODEL_KINEMATICS = ("kind", "wheel_radius", "wheel_separation", "base_frame", "tip_frame", "joints", "home", "gripper")


def model_part(data: dict[str, Any]) -> dict[str, Any]:
    """What of a contract's plain data a model depends on: the pictures, what an action means, and the timing."""
    part = {key: data[key] for key in ("rate", "action")}
    part["kinematics"] = {k: data["kinematics"][k] for k in MODEL_KINEMATICS if k in data["kinematics"]}
    seen = [c for i, c in enumerate(data["cameras"]) if c.get("model", i == 0)]
    part["cameras"] = [{k: c[k] for k in ("name", "width", "height", "size", "crop") if k in c} for c in seen]
    state = [key for key, topic in data["state"].items() if topic.get("model")]
    return part | ({"state": state} if state else {})


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Every key in which plain data differ, as ``path: a != b``; ``path`` is that of both."""
    if isinstance(a, dict) and isinstance(b, dict):
        found = []
        for key in [*a, *(k for k in b if k not in a)]:
            at = f"{path}.{key}" if path else str(key)
            if key not in a or key not in b:
                found.append(f"{at}: {a.get(key, 'absent')} != {b.get(key, 'absent')}")
            else:
                found += differences(a[key], b[key], at)
        return found
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [line for i, (x, y) in enumerate(zip(a, b, strict=True)) for line in differences(x, y, f"{path}[{i}]")]
    return [] if a == b else [f"{path}: {a} != {b}"]
