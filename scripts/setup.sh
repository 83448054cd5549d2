#!/usr/bin/env bash
# Make the virtual environment that the clone runs in. Does nothing when nothing changed since the last time.
#
# PYTHON  interpreter to make it from (default: python3, or the one the sourced ROS was built for)
# TORCH   what to give pip for PyTorch when no suitable one is there (default below)
set -euo pipefail
unset MAKEFLAGS MFLAGS MAKELEVEL

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
. "$root/scripts/lib.sh"
dream_vla_locate "$root"
unset VIRTUAL_ENV PYTHONHOME
torch="${TORCH:-torch==2.13.0}"
venv="$DREAM_VLA_VENV"
stamp="$venv/.dream_vla_setup"

exec 9>"$root/.setup.lock"
flock -n 9 || { echo "waiting for another set-up of this clone"; flock 9; }

requirements=("$root/requirements/runtime.txt" "$root/requirements/dev.txt")
[ -n "$DREAM_VLA_ROS_PREFIX" ] || requirements+=("$root/requirements/ros-$ROS_DISTRO.txt")

fingerprint() {
  {
    echo "$DREAM_VLA_FLAVOUR $torch $venv"
    "$venv/bin/python" --version
    cat "${requirements[@]}" "$root/scripts/setup.sh" "$root/scripts/fix_wheel_paths.py"
  } | sha256sum | cut -d' ' -f1
}

if [ -r "$stamp" ] && "$venv/bin/python" -c "" 2>/dev/null && [ "$(cat "$stamp")" = "$(fingerprint)" ]; then
  exit 0
fi

SECONDS=0
step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

supported_python() {
  "$1" -c 'import platform, sys
sys.exit(not ((3, 10) <= sys.version_info[:2] <= (3, 14) and platform.python_implementation() == "CPython"))' 2>/dev/null
}

choose_python() {
  local candidate
  if [ -n "$DREAM_VLA_ROS_PREFIX" ]; then
    for candidate in ${PYTHON:-python3 /usr/bin/python3}; do
      if "$candidate" -c 'import rclpy' 2>/dev/null; then
        command -v "$candidate"
        return
      fi
    done
    echo "error: no Python here can import rclpy from $DREAM_VLA_ROS_PREFIX; set PYTHON to the one it was built for" >&2
    return 1
  fi
  if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
    echo "error: the ROS wheels are for x86-64 Linux only; source a ROS 2 distribution instead" >&2
    return 1
  fi
  for candidate in ${PYTHON:-python3 python3.12 python3.11 python3.13 python3.10 python3.14}; do
    if supported_python "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  echo "error: CPython 3.10 to 3.14 is needed (Debian/Ubuntu package: python3); set PYTHON to its path" >&2
  return 1
}

echo "setting up $venv for $DREAM_VLA_FLAVOUR"
base="$(choose_python)"

step "system packages"
"$base" "$root/scripts/system_packages.py"

if ! "$venv/bin/python" -c "import pip" 2>/dev/null; then
  step "virtual environment with $("$base" --version)"
  rm -rf "$venv"
  if [ -n "$DREAM_VLA_ROS_PREFIX" ]; then
    "$base" -m venv --system-site-packages "$venv"
  else
    "$base" -m venv "$venv"
  fi
fi
python="$venv/bin/python"
pip() { "$python" -m pip --disable-pip-version-check --no-input "$@"; }
# One short line for each download instead of pip's dependency chains; errors pass as they are.
install() {
  pip install --progress-bar off "$@" 2> >(grep -v "is ignored: it is neither" >&2) | awk '
    /^  Downloading /         { print "  " $2, $3, $4; fflush() }
    /^Processing /            { sub(".*/", "", $2); print "  " $2; fflush() }
    /^Installing collected/   { print "  installing", NF - 3, "packages ..."; fflush() }
    /^Successfully installed/ { print "  installed" }'
}

extra=()
if [ -n "$DREAM_VLA_ROS_PREFIX" ]; then
  # The distribution's compiled modules (cv_bridge among them) crash with another major release of NumPy than theirs.
  major="$("$base" -I -c 'import numpy; print(int(numpy.__version__.split(".")[0]) + 1)' 2>/dev/null || true)"
  [ -z "$major" ] || extra+=("numpy<$major")
fi

if ! "$python" "$root/scripts/has_torch.py" "$root/requirements/runtime.txt"; then
  step "PyTorch: $torch"
  # shellcheck disable=SC2086  # TORCH may hold several words, such as an index option
  install $torch "${extra[@]}"
fi

step "Python packages"
files=()
for file in "${requirements[@]}"; do files+=(-r "$file"); done
install "${files[@]}" "${extra[@]}"

if [ -z "$DREAM_VLA_ROS_PREFIX" ]; then
  step "paths in the ROS wheels"
  "$python" "$root/scripts/fix_wheel_paths.py"
fi

cat >"$venv/bin/dream_vla" <<WRAPPER
#!/usr/bin/env bash
# Runs the client command with the environment of its clone, from any shell.
. "$root/scripts/env.sh" && exec python -m dream_vla_ros.nodes.cli.main "\$@"
WRAPPER
chmod +x "$venv/bin/dream_vla"

fingerprint >"$stamp"
printf '\n== environment ready (%d s)\n' "$SECONDS"
