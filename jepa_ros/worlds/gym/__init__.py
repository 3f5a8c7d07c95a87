# SPDX-License-Identifier: Apache-2.0
"""Any Gymnasium environment with a continuous action and pictures, as a world."""
