# SPDX-License-Identifier: Apache-2.0
"""How good a model is: episodes, baselines, the oracle and statistics."""
