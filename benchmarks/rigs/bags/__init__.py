# SPDX-License-Identifier: Apache-2.0
"""Recording, replay and learning from bags."""
