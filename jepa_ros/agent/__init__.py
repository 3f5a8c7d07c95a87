# SPDX-License-Identifier: Apache-2.0
"""What drives one robot without ROS: the step clock and the loop that collection and evaluation run."""
