# SPDX-License-Identifier: Apache-2.0
"""Training data: exploration, collection, the dataset on disk and batches from it."""
