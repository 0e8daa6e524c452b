# shellcheck shell=bash disable=SC2034,SC2154
# Building what is tested. Needs common.sh. Each function prints the path of what it made.

command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin

# has_target TARGET: can the toolchain build for it?
has_target() {
    local libs
    libs=$(cd "$repo" && rustc --print target-libdir --target "$1" 2>/dev/null) && compgen -G "$libs/libstd-*" >/dev/null
}

# The runtime as it is shipped: a static musl binary, or glibc where that target is missing.
build_release() {
    local musl
    musl=$(uname -m)-unknown-linux-musl
    if has_target "$musl"; then
        built_executable rt build --release --bin rt --target "$musl"
    else
        built_executable rt build --release --bin rt
    fi
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
