#!/usr/bin/env bash
# All tests: first those without a clock of their own, on two cores, then those in real time, one by one on an idle machine.
# Words are handed on to pytest (paths, -k, ...). Exits 0 when both parts have passed.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export OMP_NUM_THREADS=1
NO_TESTS=5  # of pytest: none was chosen

python -m pytest -q -n 2 --dist loadgroup -m "not real_time" "$@"
others=$?
python -m pytest -q -m real_time "$@"
in_real_time=$?
if [ $others = $NO_TESTS ] && [ $in_real_time = $NO_TESTS ]; then exit $NO_TESTS; fi
for code in $others $in_real_time; do
    if [ "$code" != 0 ] && [ "$code" != $NO_TESTS ]; then exit "$code"; fi
done
exit 0
