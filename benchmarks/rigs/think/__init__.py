# SPDX-License-Identifier: Apache-2.0
"""What `jepa-ros bench think` is made of; docs/think_longer.md is its design."""
