# SPDX-License-Identifier: Apache-2.0
from functools import lru_cache
@lru_cache(maxsize=1)
def typestore():
    """rosbags' table of Jazzy's common message types."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_JAZZY)
