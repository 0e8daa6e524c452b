# shellcheck shell=bash disable=SC2034,SC2154
# Steps with a name, an outcome and a share in one sum. Needs common.sh and $work, a directory.

passed=0 failed=0 skipped=0
outcomes=()

# step NAME COMMAND...: runs it with its output shown. A command whose output has libtest's
# "test result:" lines counts with all its tests, any other as one; exit status 77 means skipped.
# What a line "tests planned: N" has announced and no result tells of has failed.
step() {
    local name=$1 status=0 log=$work/log begin=$SECONDS tests failures
    shift
    printf '\n=== %s\n' "$name"
    set +e
    "$@" 2>&1 </dev/null | tee "$log"
    status=${PIPESTATUS[0]}
    set -e
    tests=$(count_tests "$log")
    count "$name" "$status" "$tests" $((SECONDS - begin))
    failures=$(failed_tests "$log")
    [ -z "$failures" ] || outcomes+=("$failures")
}

# count_tests LOG: "passed failed ignored missing", summed over all harnesses in it; empty without any.
count_tests() {
    sed -nE -e 's/^test result: .* ([0-9]+) passed; ([0-9]+) failed; ([0-9]+) ignored;.*/\1 \2 \3 0/p' \
        -e 's/^tests planned: ([0-9]+)$/0 0 0 \1/p' "$1" |
        awk '{p += $1; f += $2; i += $3; planned += $4}
            END {missing = planned - p - f - i; if (NR) print p, f, i, (missing > 0 ? missing : 0)}'
}

count() {
    local name=$1 status=$2 tests=$3 seconds=$4 p=0 f=0 i=0 missing=0 word=ok
    if [ -n "$tests" ]; then
        read -r p f i missing <<<"$tests"
        f=$((f + missing))
    elif [ "$status" = 0 ]; then
        p=1
    elif [ "$status" = 77 ]; then
        i=1 word=skipped
    fi
    # A step that failed without a failed test failed itself.
    if [ "$status" != 0 ] && [ "$status" != 77 ] && [ "$f" = 0 ]; then f=1; fi
    [ "$f" = 0 ] || word=FAILED
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + i))
    outcomes+=("$(printf '%-7s %5d s  %s%s' "$word" "$seconds" "$name" "${tests:+: $p passed, $f failed, $i skipped}")")
    [ "$missing" = 0 ] || outcomes+=("                 $missing tests did not run, or not to their end")
}

# failed_tests LOG: their names as lines of the summary, the first few.
failed_tests() {
    sed -n 's/^test \(.*[^ ]\) *\.\.\. FAILED$/                 \1/p' "$1" | awk 'NR <= 10; NR == 11 {print "                 and more"}'
}

# summary: all steps, then the sum alone on the last line; false if anything failed.
summary() {
    printf '\n=== summary\n'
    printf '%s\n' "${outcomes[@]}"
    printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
    [ "$failed" = 0 ]
}
