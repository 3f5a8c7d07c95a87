# SPDX-License-Identifier: Apache-2.0
"""What the simulated worlds share: PyBullet itself, their errors, sensors of a mobile base, shadows on a floor."""
