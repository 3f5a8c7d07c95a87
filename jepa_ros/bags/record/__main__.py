# SPDX-License-Identifier: Apache-2.0
"""`python -m jepa_ros.bags.record`: the recorder's own process."""

import sys

from jepa_ros.bags.record.command import run_module

if __name__ == "__main__":
    sys.exit(run_module(sys.argv[1:]))
