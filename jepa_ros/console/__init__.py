# SPDX-License-Identifier: Apache-2.0
"""The operator's page: a ROS node beside the others, and the web server that shows what it hears and says.

It decides nothing. Goals go to the planner, stops and guardrails to the gate, and both may refuse.

:mod:`~jepa_ros.console.desk` says who may do what, :mod:`~jepa_ros.console.graph` talks ROS,
:mod:`~jepa_ros.console.server` talks to pages, ``page/`` is what a browser shows.
"""
