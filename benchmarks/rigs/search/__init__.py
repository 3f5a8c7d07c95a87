# SPDX-License-Identifier: Apache-2.0
"""Plans, searches, guardrails and vigilance."""
