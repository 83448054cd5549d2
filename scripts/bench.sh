#!/usr/bin/env bash
# Run every benchmark, or the ones named. --quick runs those of speed in short, to see that they work.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset MAKEFLAGS MFLAGS MAKELEVEL
options=()
if [ "${1:-}" = --quick ]; then
  shift
  options=(--quick)
  [ "$#" -gt 0 ] || set -- benchmarks/inference.py benchmarks/pipeline.py
fi
if [ "$#" -eq 0 ]; then
  set -- benchmarks/*.py
fi
for benchmark in "$@"; do
  echo "== $benchmark"
  python "$benchmark" "${options[@]}"
done
