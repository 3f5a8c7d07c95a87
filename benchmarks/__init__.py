# SPDX-License-Identifier: Apache-2.0
"""Everything that measures: one file a benchmark, ``jepa-ros bench NAME``. It is not part of the installed package."""
