#!/usr/bin/env bash
# Run pytest with only the plugins in use: those that a ROS distribution registers do not fit every pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset MAKEFLAGS MFLAGS MAKELEVEL
export PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
exec python -m pytest -p pytest_timeout -p _hypothesis_pytestplugin "$@"
