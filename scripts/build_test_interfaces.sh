#!/usr/bin/env bash
# Build stand-ins for robots' own message packages that are not installed, for the tests alone: nothing else sees
# them. Takes about a minute once, and nothing where the packages are there or were built from the same inputs.
set -euo pipefail
unset MAKEFLAGS MFLAGS MAKELEVEL

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
. "$root/scripts/env.sh"
cd "$root"

missing=()
for folder in test/interfaces/*/; do
  package="$(basename "$folder")"
  [ -e "$folder/package.xml" ] || continue
  python - "$package" <<'PY' 2>/dev/null || missing+=("$package")
import importlib.util, sys
sys.exit(importlib.util.find_spec(sys.argv[1]) is None)
PY
done
[ "${#missing[@]}" -gt 0 ] || exit 0

exec 9>"$root/.setup.lock"
flock 9
prefix="$DREAM_VLA_BUILD/test_interfaces/install"
stamp="$DREAM_VLA_BUILD/test_interfaces/built"
mapfile -t inputs < <(find test/interfaces scripts/build_test_interfaces.sh -type f | LC_ALL=C sort)
fingerprint="$DREAM_VLA_FLAVOUR:$(python -c 'import platform, sys; print(sys.prefix, platform.python_version(), sep=":")') ${missing[*]} $(sha256sum "${inputs[@]}" | sha256sum | cut -d' ' -f1)"
[ "$(cat "$stamp" 2>/dev/null || true)" != "$fingerprint" ] || exit 0

echo "== building stand-ins for tests: ${missing[*]} (about a minute)"
rm -rf "${DREAM_VLA_BUILD:?}/test_interfaces"
# An absolute run path, since a test process cannot change where its own libraries are looked for. COLCON_DEFAULTS_FILE
# keeps this clone's own packages out.
COLCON_DEFAULTS_FILE=/dev/null python -W ignore -m colcon --log-base "$DREAM_VLA_ROOT/log" build \
  --base-paths test/interfaces --packages-select "${missing[@]}" --merge-install \
  --build-base "$DREAM_VLA_BUILD/test_interfaces/build" --install-base "$prefix" \
  --cmake-args -DBUILD_TESTING=OFF -DCMAKE_BUILD_TYPE=Debug "-DCMAKE_INSTALL_RPATH=$prefix/lib" \
  2> >(grep -v "contain any 'local_setup" >&2)
echo "$fingerprint" >"$stamp"
