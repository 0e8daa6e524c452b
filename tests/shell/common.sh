# shellcheck shell=bash disable=SC2034,SC2154
# What every script of the tests shares: where the caches are, what is said and how it ends.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${RT_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/rt-tests}

say() { printf '%s\n' "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

# recipe_key FILE_OR_WORD...: a short hash of what makes up a cached thing.
# A file counts by its contents, everything else by its letters.
recipe_key() {
    local part
    for part in "$@"; do
        if [ -f "$part" ]; then cat "$part"; else printf '%s\n' "$part"; fi
    done | sha256sum | cut -c1-16
}

# forget_old PREFIX: drop cached things of one kind that nobody used for two weeks.
forget_old() {
    find "$cache" -mindepth 1 -maxdepth 1 -name "$1-*" -mtime +14 -exec rm -rf {} +
}
