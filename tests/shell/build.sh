# shellcheck shell=bash disable=SC2034,SC2154
# Building what is tested. Needs common.sh. Each function prints the path of what it made.

command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin

# has_target TARGET: can the toolchain build for it?
has_target() {
    local libs
    libs=$(cd "$repo" && rustc --print target-libdir --target "$1" 2>/dev/null) && compgen -G "$libs/libstd-*" >/dev/null
}

# The runtime as it is shipped.
build_release() {
    "$repo/examples/build"
}

# The same with debug assertions.
build_debug() {
    built_executable rt build --bin rt
}

# The black-box tests: one static program.
build_blackbox() {
    built_executable blackbox test --no-run --test blackbox
}

# built_executable NAME CARGO-ARGUMENTS...
built_executable() {
    local name=$1 path
    shift
    path=$(cd "$repo" && cargo "$@" --quiet --message-format=json-render-diagnostics |
        jq -r --arg name "$name" 'select(.reason == "compiler-artifact" and .target.name == $name) | .executable // empty' |
        tail -n 1)
    [ -n "$path" ] || die "cargo $* made no program $name"
    echo "$path"
}
