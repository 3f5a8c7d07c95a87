# SPDX-License-Identifier: Apache-2.0
"""The one exception of the simulator."""

from jepa_ros.errors import JepaRosError


class SimError(JepaRosError):
    """A mistake in how the simulator was asked; the message says what was found and what was expected."""
