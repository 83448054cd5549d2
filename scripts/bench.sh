#!/usr/bin/env bash
# Run every benchmark, or the ones named.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset MAKEFLAGS MFLAGS MAKELEVEL
if [ "$#" -eq 0 ]; then
  set -- benchmarks/*.py
fi
for benchmark in "$@"; do
  echo "== $benchmark"
  python "$benchmark"
done
