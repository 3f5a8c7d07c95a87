# SPDX-License-Identifier: Apache-2.0
"""Where the labels of readouts come from: a name that a readout declares -> values of encoded episodes.

A name is one of :data:`SOURCES`, ``state/NAME`` for a state vector that the data holds, or ``module:function`` of a
body's room, called with the episodes.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from torch import Tensor

from jepa_ros.learning.representation.diagnostics import Latents, pose_targets
from jepa_ros.learning.settings import TrainError
from jepa_ros.world_model.readouts import Readout


def _touching(latents: Latents) -> Tensor:
    """Whether the robot touched something: the bumper of step k speaks of the frames before and after it."""
    touching = latents.contacts.clone()
    touching[:, 1:] |= latents.contacts[:, :-1]
    return touching[..., None].float()


#: (E, T, dims) float32 of encoded episodes, NaN where there is none.
SOURCES: dict[str, Callable[[Latents], Tensor]] = {
    "poses": lambda latents: pose_targets(latents.poses),
    "contacts": _touching,
}


def labels_of(readout: Readout, latents: Latents) -> Tensor:
    """The labels (E, T, dims) of a readout.

    Raises:
        TrainError: nobody knows the source, the data does not hold it, or it gives another number of values.
    """
    source = readout.labels
    if source in SOURCES:
        found = SOURCES[source](latents)
    elif source.startswith("state/"):
        name = source.removeprefix("state/")
        if name not in latents.states:
            known = ", ".join(latents.states) or "none"
            raise TrainError(f"readout '{readout.name}': the data has no state '{name}'; it has {known}")
        found = latents.states[name]
    elif ":" in source:
        module, _, function = source.partition(":")
        found = getattr(import_module(module), function)(latents)
    else:
        known = ", ".join((*SOURCES, "state/NAME", "module:function"))
        raise TrainError(f"readout '{readout.name}': no labels are called '{source}'; known: {known}")
    if found.shape[-1] != len(readout.dims):
        raise TrainError(
            f"readout '{readout.name}': its labels '{source}' have {found.shape[-1]} values; expected {readout.dims}"
        )
    return found
