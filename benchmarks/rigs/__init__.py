# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks and some tests drive the software with."""
