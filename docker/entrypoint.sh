#!/bin/bash
# Sources ROS 2 and the workspace, then becomes the command, so that it gets the signals of `docker stop`.
set -e
. /opt/ros/jazzy/setup.bash
. /udg/tools/env.sh
exec "$@"
