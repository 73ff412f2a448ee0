# Image for the robot PC: ROS 2 Jazzy from apt, CUDA, the drivers of arms, hands and cameras.
#   docker compose -f docker/compose.yaml build robot
# Not yet built with a container engine. The XHand SDK is not public: give its wheel for Python 3.12 with
#   --build-arg XHAND_WHEEL=vendor/xhand_controller-1.1.7-cp312-cp312-linux_x86_64.whl (a path in the build context).
FROM nvidia/cuda:12.6.3-runtime-ubuntu24.04
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV DEBIAN_FRONTEND=noninteractive PIP_NO_CACHE_DIR=1 LANG=C.UTF-8

# Fixed versions would be gone from the mirrors with the next security update.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl git make \
        python3 python3-venv libusb-1.0-0 libgl1 libegl1 libx11-6 libidn2-0 libudev1 \
    && rm -rf /var/lib/apt/lists/*

# The key of the ROS repository is kept in a file of its own, for that repository alone; apt reads armoured keys from .asc files.
# hadolint ignore=DL3008
RUN curl -fsSL https://raw.githubusercontent.com/ros/rosdistro/master/ros.asc -o /usr/share/keyrings/ros.asc \
    && echo "deb [arch=amd64 signed-by=/usr/share/keyrings/ros.asc] http://packages.ros.org/ros2/ubuntu noble main" \
        > /etc/apt/sources.list.d/ros2.list \
    && apt-get update && apt-get install -y --no-install-recommends ros-jazzy-ros-base ros-jazzy-rmw-fastrtps-cpp \
        ros-jazzy-robot-state-publisher ros-jazzy-rviz2 ros-jazzy-sros2 ros-jazzy-tf2-ros ros-jazzy-lifecycle-msgs \
        ros-jazzy-rosbag2 python3-colcon-common-extensions \
    && rm -rf /var/lib/apt/lists/*

# Not root: the user needs the groups of serial adapters and cameras (docker/udev) and the real-time limits of compose.
# Its name must be no group's of Debian or Ubuntu ("operator" is one), for its own group gets that name.
RUN useradd --uid 1500 --create-home --groups dialout,plugdev,video udg && install --directory --owner udg --group udg /udg
USER 1500
WORKDIR /udg
COPY --chown=1500:1500 . .
# torch first and with CUDA: the build sees no NVIDIA driver, so the set-up would take the CPU build.
RUN rm -rf .venv build install log && python3 -m venv --system-site-packages .venv && echo installed > .venv/.udg-ros \
    && .venv/bin/pip --require-virtualenv install -c constraints.txt torch \
    && . /opt/ros/jazzy/setup.bash && make setup
ARG XHAND_WHEEL=""
RUN if [ -n "$XHAND_WHEEL" ]; then .venv/bin/pip --require-virtualenv install "$XHAND_WHEEL"; fi

COPY docker/entrypoint.sh /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
CMD ["ros2", "launch", "udg_bringup", "real.launch.py"]
