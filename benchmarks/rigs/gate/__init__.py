# SPDX-License-Identifier: Apache-2.0
"""The safety gate under histories, faults and adversaries."""
