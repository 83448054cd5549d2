#!/usr/bin/env bash
# Run pytest with only the plugins in use: those that a ROS distribution registers do not fit every pytest.
#
# Without arguments, each file that runs a ROS graph has a process of its own: in a process that made and destroyed
# many DDS participants, Fast DDS 2.14 was seen to spin in a sending thread and to block the next participant for good.
# Such a file that fails is run once more, as `colcon test --retest-until-pass 1` does: these tests are in real time,
# and a machine that stood still for a moment fails them. What passed only then is named at the end.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset MAKEFLAGS MFLAGS MAKELEVEL
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
scripts/build_test_interfaces.sh
pytest=(python -m pytest -p pytest_timeout -p _hypothesis_pytestplugin)
if [ "$#" -gt 0 ]; then
  exec "${pytest[@]}" "$@"
fi
failed=()
again=()
"${pytest[@]}" --ignore=test/nodes || failed+=(test)
for file in test/nodes/test_*.py; do
  # 5: nothing to run, as where a whole file is skipped for want of launch_ros.
  "${pytest[@]}" -q "$file" || [ "$?" -eq 5 ] || again+=("$file")
done
for file in "${again[@]}"; do
  echo "once more: $file" >&2
  if "${pytest[@]}" -q "$file"; then
    echo "passed only at the second attempt: $file" >&2
  else
    failed+=("$file")
  fi
done
if [ "${#failed[@]}" -gt 0 ]; then
  echo "tests failed in: ${failed[*]}" >&2
  exit 1
fi
