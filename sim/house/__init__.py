# SPDX-License-Identifier: Apache-2.0
"""Houses of several rooms, and a mobile base that carries its camera through them."""
