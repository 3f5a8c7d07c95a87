# SPDX-License-Identifier: Apache-2.0
"""What an operator says to a running stack from a terminal: `jepa-ros gate`, `goal` and `explore`."""
