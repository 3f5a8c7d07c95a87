# SPDX-License-Identifier: Apache-2.0
"""Commands take effect late: what the search rolls forward is what the robot will execute."""

import numpy as np
import pytest
import torch

from jepa_ros.planning.config import SearchError
from jepa_ros.planning.delay import Delay


def executed_by_integration(latency, period, commands, first, steps):
    """Mean command in effect over each period, by brute force; commands[i] is sent at (first + i) * period."""
    means = []
    for k in range(steps):
        t = (k + (np.arange(1000) + 0.5) / 1000) * period
        index = np.floor((t - latency) / period + 1e-9).astype(int) - first
        means.append(commands[index].mean(0))
    return np.array(means)


@pytest.mark.parametrize("latency", [0.0, 0.06, 0.2, 0.25, 0.4, 0.51])
def test_effective_actions_are_the_mean_of_what_is_in_effect(latency):
    period, horizon = 0.2, 6
    delay = Delay(latency, period)
    generator = torch.Generator().manual_seed(1)
    commands = torch.rand(delay.known + horizon, 2, generator=generator)
    sent, plan = commands[: delay.known], commands[delay.known :]
    known = delay.under_way(sent)
    mine = torch.cat([known, delay.effective(plan, sent)])
    truth = executed_by_integration(latency, period, commands.numpy(), -delay.known, horizon)
    assert len(known) == delay.whole
    assert np.allclose(mine[:horizon], truth, atol=2e-3)


def test_effective_writes_into_a_buffer_and_takes_any_leading_axes():
    delay = Delay(0.06, 0.2)
    plans, sent = torch.rand(3, 4, 5, 2), torch.rand(1, 2)
    out = torch.empty_like(plans)
    assert delay.effective(plans, sent, out=out) is out
    assert torch.allclose(out[1, 2], delay.effective(plans[1, 2], sent))


def test_wrong_number_of_earlier_commands_is_refused():
    with pytest.raises(SearchError, match="needs 2"):
        Delay(0.2, 0.2).effective(torch.zeros(3, 2), torch.zeros(1, 2))
