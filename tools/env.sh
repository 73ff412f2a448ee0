# Environment to run udg. Source it in bash from anywhere: . tools/env.sh
# It takes the ROS 2 of the virtual environment where the ROS wheels are installed there, else the sourced ROS installation.

_udg_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
_udg_venv="$_udg_root/.venv"

_udg_prepend() {  # variable, folder: put the folder first unless it is there
    case ":${!1-}:" in
        *":$2:"*) ;;
        *) export "$1=$2${!1:+:${!1}}" ;;
    esac
}

if [ -x "$_udg_venv/bin/python" ]; then
    export VIRTUAL_ENV="$_udg_venv"
    _udg_prepend PATH "$_udg_venv/bin"
    for _udg_site in "$_udg_venv"/lib/python3.*/site-packages; do
        if [ -d "$_udg_site/rclpy" ]; then
            _udg_prepend AMENT_PREFIX_PATH "$_udg_venv"
            for _udg_libs in "$_udg_site"/ros_*.libs "$_udg_venv/lib"; do
                [ -d "$_udg_libs" ] && _udg_prepend LD_LIBRARY_PATH "$_udg_libs"
            done
            export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1  # the wheels need not start Python again to find their libraries
        fi
    done
fi
if [ -f "$_udg_root/install/local_setup.bash" ]; then
    # shellcheck disable=SC1091
    . "$_udg_root/install/local_setup.bash"
fi
export RMW_IMPLEMENTATION="${RMW_IMPLEMENTATION:-rmw_fastrtps_cpp}"
export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"

unset -f _udg_prepend
unset _udg_root _udg_venv _udg_site _udg_libs
