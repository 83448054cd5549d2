#!/usr/bin/env bash
# Build the messages and install the Python package as symlinks, when their inputs changed since the last time.
set -euo pipefail
unset MAKEFLAGS MFLAGS MAKELEVEL

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
. "$root/scripts/env.sh"
cd "$root"

exec 9>"$root/.setup.lock"
flock -n 9 || { echo "waiting for another build of this clone"; flock 9; }

hash_of() { sha256sum "$@" | sha256sum | cut -d' ' -f1; }

# build PACKAGE FINGERPRINT: build unless it was built from the same inputs.
build() {
  local package="$1" fingerprint="$2" stamp="$DREAM_VLA_BUILD/$1/.dream_vla_built"
  if [ -r "$stamp" ] && [ "$(cat "$stamp")" = "$fingerprint" ] && [ -d "$DREAM_VLA_INSTALL/$package" ]; then
    return 0
  fi
  # Another interpreter or ROS leaves paths in the CMake cache that do not suit this one.
  local base="${fingerprint%% *}"
  if [ -r "$stamp" ] && [ "$(cut -d' ' -f1 "$stamp")" != "$base" ]; then
    rm -rf "${DREAM_VLA_BUILD:?}/$package" "${DREAM_VLA_INSTALL:?}/$package"
  fi
  echo "== building $package${3:+ ($3)}"
  python -W ignore -m colcon --log-base "$DREAM_VLA_ROOT/log" build --packages-select "$package" \
    --build-base "$DREAM_VLA_BUILD" --install-base "$DREAM_VLA_INSTALL" 2> >(grep -v "contain any 'local_setup" >&2)
  echo "$fingerprint" >"$stamp"
}

base="$DREAM_VLA_FLAVOUR:$(python -c 'import platform, sys; print(sys.prefix, platform.python_version(), sep=":")')"
mapfile -t interfaces < <(find src/dream_vla_msgs -type f | LC_ALL=C sort)
build dream_vla_msgs "$base $(hash_of "${interfaces[@]}" scripts/build.sh)" "a minute or two"
[ "${1:-}" != --messages ] || exit 0

folders=()
for folder in src/dream_vla_ros launch config models; do [ ! -d "$folder" ] || folders+=("$folder"); done
installed="$(find "${folders[@]}" -type f -not -name '*.pyc' -not -path 'src/*.py' | LC_ALL=C sort)"
packages="$(find src/dream_vla_ros -name __init__.py | LC_ALL=C sort)"
recipe="$(hash_of setup.py setup.cfg package.xml colcon_defaults.yaml scripts/build.sh)"
build dream_vla_ros "$base $(printf '%s' "$installed$packages$recipe" | sha256sum | cut -d' ' -f1)"
