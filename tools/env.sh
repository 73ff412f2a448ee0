# Environment to run udg. Source it in bash from anywhere: . tools/env.sh
# It takes the ROS 2 of the virtual environment where the ROS wheels are installed there, else the sourced ROS installation.
# What another ROS set-up or Python has left in the environment comes after our own, so that it hides nothing of it.

_udg_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
_udg_venv="$_udg_root/.venv"

_udg_first() {  # variable, folder: put the folder before all others
    local others=":${!1-}:"
    others="${others//:"$2":/:}"
    others="${others#:}"
    others="${others%:}"
    export "$1=$2${others:+:$others}"
}

unset PYTHONHOME
if [ -x "$_udg_venv/bin/python" ]; then
    export VIRTUAL_ENV="$_udg_venv"
    _udg_first PATH "$_udg_venv/bin"
    for _udg_site in "$_udg_venv"/lib/python3.*/site-packages; do
        if [ -n "${PYTHONPATH-}" ]; then _udg_first PYTHONPATH "$_udg_site"; fi
        if [ -d "$_udg_site/rclpy" ]; then
            _udg_first AMENT_PREFIX_PATH "$_udg_venv"
            for _udg_folder in "$_udg_site"/ros_*.libs "$_udg_venv/lib"; do
                [ -d "$_udg_folder" ] && _udg_first LD_LIBRARY_PATH "$_udg_folder"
            done
            export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1  # the wheels need not start Python again to find their libraries
        fi
    done
fi
_udg_first PATH "$_udg_root/tools/bin"
# The workspace's overlay, as install/local_setup.bash sets it; that one breaks on a path with spaces.
for _udg_folder in "$_udg_root"/install/udg_*; do
    [ -d "$_udg_folder" ] || continue
    _udg_first AMENT_PREFIX_PATH "$_udg_folder"
    for _udg_site in "$_udg_folder"/lib/python3.*/site-packages "$_udg_root/build/${_udg_folder##*/}"; do
        [ -d "$_udg_site" ] && _udg_first PYTHONPATH "$_udg_site"
    done
done

export RMW_IMPLEMENTATION="${RMW_IMPLEMENTATION:-rmw_fastrtps_cpp}"
export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
_udg_found=""
_udg_rest="${AMENT_PREFIX_PATH-}:"
while [ -n "$_udg_rest" ]; do
    _udg_folder="${_udg_rest%%:*}"
    _udg_rest="${_udg_rest#*:}"
    if [ -e "$_udg_folder/lib/lib$RMW_IMPLEMENTATION.so" ]; then _udg_found=1; break; fi
done
if [ -z "$_udg_found" ] && [ "$RMW_IMPLEMENTATION" != rmw_fastrtps_cpp ]; then
    echo "[env] RMW_IMPLEMENTATION=$RMW_IMPLEMENTATION is not part of this ROS: taking rmw_fastrtps_cpp" >&2
    export RMW_IMPLEMENTATION=rmw_fastrtps_cpp
fi

unset -f _udg_first
unset _udg_root _udg_venv _udg_site _udg_folder _udg_found _udg_rest
