# SPDX-License-Identifier: Apache-2.0
"""Bags: recording, reading, replaying and learning from rosbag2 recordings (MCAP written, MCAP and sqlite3 read)."""

from jepa_ros.errors import JepaRosError


class BagError(JepaRosError):
    """A bag cannot be written or read. The message names the path, and for a broken file the byte where it breaks."""


CONTRACT_KEY = "jepa_ros.contract"
"""Key of the robot contract (JSON text) in a bag's custom_data."""
MODEL_CARD_KEY = "jepa_ros.model_card"
GUARDRAILS_KEY = "jepa_ros.guardrails"
"""The guardrail set in force (YAML text) where it is not the contract's."""
GATE_SETTINGS_KEY = "jepa_ros.gate_settings"
"""The gate's further settings (YAML text)."""
"""Key of the model card (JSON text) in a bag's custom_data."""
REPORT_KEY = "jepa_ros.recording"
"""Key of the recorder's own account (JSON text: messages, drops, how it ended) in a bag's custom_data."""
