# SPDX-License-Identifier: Apache-2.0
"""The command line, ``jepa-ros COMMAND``: one file a command; :mod:`jepa_ros.commands.cli` has the table."""
