# SPDX-License-Identifier: Apache-2.0
"""What is trained on the frozen representation, one file a stage."""
