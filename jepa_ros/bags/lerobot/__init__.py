# SPDX-License-Identifier: Apache-2.0
"""LeRobot datasets: Parquet, MP4 and ``meta/``, read (v2.1 and v3) and written (v3).

pyarrow and PyAV come with the extra ``[lerobot]``; nothing here is imported before somebody asks for it.
"""

from jepa_ros.errors import JepaRosError


class LeRobotError(JepaRosError):
    """A LeRobot dataset that cannot be read or written; the message names the file, feature or episode."""


OWN = "meta/jepa_ros.json"
"""What a set that we wrote says of itself beside LeRobot's files: the robot contract, and the episodes' layouts."""
EXTRAS = "complementary_info."
"""LeRobot's prefix of features that are neither observed nor acted by a policy."""
