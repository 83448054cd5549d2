# Which ROS this clone uses and where its environment, build and install folders are.
# Read by scripts/env.sh, setup.sh and build.sh; works in bash and zsh, with and without `set -u`.

# _dream_vla_without LIST ROOT...: print the colon-separated LIST without entries at or below any ROOT.
_dream_vla_without() {
  local rest="$1:" kept="" entry root inside
  shift
  while [ -n "$rest" ]; do
    entry="${rest%%:*}"
    rest="${rest#*:}"
    [ -n "$entry" ] || continue
    inside=""
    for root in "$@"; do
      [ -n "$root" ] || continue
      case "$entry/" in "$root"/*) inside=1 ;; esac
    done
    [ -n "$inside" ] || kept="${kept:+$kept:}$entry"
  done
  printf '%s' "$kept"
}

# _dream_vla_forget_self: take what an earlier env.sh, of this clone or another, added out of the search paths.
_dream_vla_forget_self() {
  local name value
  for name in AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH LD_LIBRARY_PATH PATH PYTHONPATH; do
    eval "value=\${$name:-}"
    value="$(_dream_vla_without "$value" "$DREAM_VLA_ROOT" "${DREAM_VLA_ACTIVE_ROOT:-}")"
    if [ -n "$value" ]; then
      export "$name=$value"
    else
      unset "$name"
    fi
  done
  unset _ROS_WHEELS_BOOTSTRAP_COMPLETE
}

# _dream_vla_distribution_prefix: print the prefix of the sourced ROS distribution, or nothing. A virtual
# environment with the wheels is an ament prefix too, but no distribution.
_dream_vla_distribution_prefix() {
  local rest="${AMENT_PREFIX_PATH:-}:" entry
  while [ -n "$rest" ]; do
    entry="${rest%%:*}"
    rest="${rest#*:}"
    if [ -n "$entry" ] && [ -e "$entry/share/ament_index/resource_index/packages/rclpy" ] &&
      [ ! -e "$entry/pyvenv.cfg" ]; then
      printf '%s' "$entry"
      return 0
    fi
  done
}

# dream_vla_locate ROOT: set the DREAM_VLA_* variables for the clone at ROOT.
dream_vla_locate() {
  DREAM_VLA_ROOT="$1"
  _dream_vla_forget_self
  DREAM_VLA_ROS_PREFIX="$(_dream_vla_distribution_prefix)"
  local suffix=""
  if [ -n "$DREAM_VLA_ROS_PREFIX" ]; then
    if [ -z "${ROS_DISTRO:-}" ]; then
      echo "error: $DREAM_VLA_ROS_PREFIX is sourced but ROS_DISTRO is not set; source its setup file again" >&2
      return 1
    fi
    DREAM_VLA_FLAVOUR="sourced-$ROS_DISTRO"
    DREAM_VLA_VENV="$DREAM_VLA_ROOT/.venv-ros-$ROS_DISTRO"
  else
    case "${ROS_DISTRO:=jazzy}" in
      jazzy) ;;
      kilted) suffix="-kilted" ;;
      *)
        echo "error: ROS_DISTRO=$ROS_DISTRO, but no such distribution is sourced and wheels exist for jazzy and" \
          "kilted only; source its setup file or choose one of them" >&2
        return 1
        ;;
    esac
    DREAM_VLA_FLAVOUR="wheels-$ROS_DISTRO"
    DREAM_VLA_VENV="$DREAM_VLA_ROOT/.venv$suffix"
  fi
  DREAM_VLA_BUILD="$DREAM_VLA_ROOT/build$suffix"
  DREAM_VLA_INSTALL="$DREAM_VLA_ROOT/install$suffix"
  export ROS_DISTRO DREAM_VLA_ROOT DREAM_VLA_FLAVOUR DREAM_VLA_VENV DREAM_VLA_BUILD DREAM_VLA_INSTALL
}
