#!/bin/sh
# run.sh SRCDIR BUILDDIR CLANG MAKE TARGET...: builds the fuzz targets with libFuzzer in a folder of its own and
# runs each for FUZZ_SECONDS (60). New inputs stay in BUILDDIR/corpus; the committed corpus is only read. Stops with
# status 1 at the end when a target found something; the input lies beside the corpus as crash-*.
# FUZZ_TARGETS="tests/fuzz/fuzz_request" picks some.
set -eu
src=$1 build=$2 clang=$3 make=$4
shift 4
mkdir -p "$build"
cd "$build"
[ -f Makefile ] || "$src/configure" CC="$clang" CFLAGS="-O1 -g" --enable-fuzzer >configure.out
targets=${FUZZ_TARGETS:-$*}
# A plain make of the targets only: the unit tests would not link with libFuzzer's main().
"$make" $targets
found=0
for target in $targets; do
    name=$(basename "$target")
    name=${name#fuzz_}
    mkdir -p "corpus/$name"
    echo "fuzz: $name for ${FUZZ_SECONDS:-60} s"
    "./$target" -max_total_time="${FUZZ_SECONDS:-60}" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="corpus/$name-" "corpus/$name" "$src/tests/fuzz/corpus/$name" >"corpus/$name.log" 2>&1 ||
        { found=1; tail -n 40 "corpus/$name.log"; }
    grep -E 'stat::(number_of_executed_units|new_units_added)' "corpus/$name.log" || :
done
exit $found
