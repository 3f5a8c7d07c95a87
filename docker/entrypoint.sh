#!/bin/bash
# ROS, then the overlay, then the command.
set -e
. /opt/ros/jazzy/setup.bash
. /opt/jepa_ros/install/setup.bash
exec "$@"
