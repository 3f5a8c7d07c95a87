# SPDX-License-Identifier: Apache-2.0
"""Training by several processes, on one machine or many: ``torchrun`` starts them, torch.distributed joins them."""
