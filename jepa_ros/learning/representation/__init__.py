# SPDX-License-Identifier: Apache-2.0
"""The encoder and predictor, trained by self-supervision, and what tells whether they are any good."""
