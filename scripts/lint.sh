#!/usr/bin/env bash
# Run every check, then fail if one did.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
status=0
check() {
  echo "== $*"
  "$@" || status=1
}
check python -m ruff check .
check python -m ruff format --check .
check python -m mypy
check lint-imports
[ "$status" -eq 0 ] && echo "lint: all checks passed" || echo "lint: failed"
exit "$status"
