# Source this file from bash or zsh to use the clone: `. scripts/env.sh`. Tests and demo use it too.
#
# Activates the virtual environment that `make setup` made, puts the ROS wheels (or the sourced distribution) and
# the built messages on the search paths, and sets defaults that you can override by exporting them before.

if [ -n "${BASH_VERSION:-}" ]; then
  _dream_vla_self="${BASH_SOURCE[0]}"
elif [ -n "${ZSH_VERSION:-}" ]; then
  _dream_vla_self="$(eval 'printf %s "${(%):-%x}"')"
else
  echo "error: scripts/env.sh must be sourced from bash or zsh" >&2
  return 1
fi
_dream_vla_self="$(cd "$(dirname "$_dream_vla_self")/.." && pwd -P)"

_dream_vla_activate() {
  . "$1/scripts/lib.sh"
  dream_vla_locate "$1" || return 1
  if [ ! -x "$DREAM_VLA_VENV/bin/python" ]; then
    echo "error: $DREAM_VLA_VENV is missing; run 'make setup' in $1 first" >&2
    return 1
  fi
  export VIRTUAL_ENV_DISABLE_PROMPT="${VIRTUAL_ENV_DISABLE_PROMPT-}"
  . "$DREAM_VLA_VENV/bin/activate"
  export DREAM_VLA_ACTIVE_ROOT="$1"

  if [ -z "$DREAM_VLA_ROS_PREFIX" ]; then
    export ROS_VERSION=2 ROS_PYTHON_VERSION=3
    export AMENT_PREFIX_PATH="$DREAM_VLA_VENV${AMENT_PREFIX_PATH:+:$AMENT_PREFIX_PATH}"
    export CMAKE_PREFIX_PATH="$DREAM_VLA_VENV${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}"
    local libs
    libs="$(find "$DREAM_VLA_VENV"/lib/python3*/site-packages -maxdepth 1 -name 'ros_*.libs' | tr '\n' ':')"
    export LD_LIBRARY_PATH="$DREAM_VLA_VENV/lib:$libs${LD_LIBRARY_PATH:-}"
    # Without this the wheels start every Python a second time to set LD_LIBRARY_PATH themselves.
    export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
    export RMW_IMPLEMENTATION="${RMW_IMPLEMENTATION:-rmw_fastrtps_cpp}"
    export ROS_AUTOMATIC_DISCOVERY_RANGE="${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}"
  fi
  export MUJOCO_GL="${MUJOCO_GL:-egl}"

  local overlay="$DREAM_VLA_INSTALL/local_setup.bash" nounset=""
  [ -z "${ZSH_VERSION:-}" ] || overlay="$DREAM_VLA_INSTALL/local_setup.zsh"
  if [ -r "$overlay" ]; then
    case "$-" in *u*) nounset=1; set +u ;; esac
    . "$overlay"
    [ -z "$nounset" ] || set -u
    # What is edited in the clone takes effect at once. A parent workspace installs the package itself.
    export PYTHONPATH="$1/src${PYTHONPATH:+:$PYTHONPATH}"
  fi
}

_dream_vla_activate "$_dream_vla_self" && unset _dream_vla_self
