# shellcheck shell=bash disable=SC2034,SC2154
# Debian packages for the tests, on the machine that runs them. Needs common.sh.

# The machine's own Debian mirror, from its apt sources; empty where they name none
# (Ubuntu, say): mmdebstrap then takes the address that it knows by itself.
debian_mirror() {
    local id codename
    id=$(. /etc/os-release && echo "${ID-}")
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
    [ "$id" = debian ] || return 0
    # shellcheck disable=SC2016  # apt's own placeholder
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Release: $codename" 2>/dev/null | sed -n 1p
}

is_installed() {
    dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed
}

# install_packages PACKAGE...: those that are missing; needs root only when one is.
install_packages() {
    local missing=() package
    for package in "$@"; do
        is_installed "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    need_apt_as_root "${missing[@]}"
    say "installing ${missing[*]}"
    apt_get update
    apt_get install "${missing[@]}"
}

# QEMU 10 or newer where there is one: older ones are less sure to emulate two processors right.
install_qemu() {
    local have candidate
    have=$({ qemu-system-x86_64 --version 2>/dev/null || true; } |
        sed -n 's/^QEMU emulator version \([0-9]*\).*/\1/p')
    [ "${have:-0}" -lt 10 ] || return 0
    need_apt_as_root 'qemu-system-x86 (version 10 or newer)'
    say "installing qemu-system-x86"
    apt_get update
    candidate=$(apt-cache policy qemu-system-x86 | sed -n 's/^ *Candidate: \([0-9]*:\)\{0,1\}\([0-9]*\).*/\2/p')
    if [ "${candidate:-0}" -lt 10 ] && [ -n "$(debian_mirror)" ]; then
        install_from_backports qemu-system-x86
    else
        apt_get install qemu-system-x86
    fi
}

# install_from_backports PACKAGE...: with a sources file of this one call, not one left on the machine.
install_from_backports() (
    mirror=$(debian_mirror)
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME-}")-backports
    sources=$(mktemp)
    trap 'rm -f "$sources"' EXIT
    chmod 644 "$sources"
    ! [ -f /etc/apt/sources.list ] || cat /etc/apt/sources.list >"$sources"
    echo "deb $mirror $suite main" >>"$sources"
    apt_get update -o Dir::Etc::SourceList="$sources"
    apt_get install -o Dir::Etc::SourceList="$sources" -t "$suite" "$@"
)

# cached_debian NAME SUITE MMDEBSTRAP-OPTION...: makes a tar of a Debian, unless the cache has it, and
# prints its path.
cached_debian() (
    name=$1 suite=$2
    shift 2
    tar=$cache/$name-$suite-$(recipe_key "$suite" "$@").tar
    mkdir -p "$cache"
    exec 9>"$cache/$name-$suite.lock"
    flock 9
    if ! [ -f "$tar" ]; then
        install_packages mmdebstrap debian-archive-keyring
        say "making a Debian root file system, $tar (about a minute)"
        work=$(mktemp -d "$cache/making-$name.XXXXXX")
        trap 'rm -rf "$work"' EXIT
        mirror=$(debian_mirror)
        sources=()
        [ -z "$mirror" ] || sources=("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main")
        mmdebstrap --quiet "$@" "$suite" "$work/root.tar" "${sources[@]}" >&2
        mv "$work/root.tar" "$tar"
    fi
    touch "$tar"
    forget_old "$name"
    echo "$tar"
)

need_apt_as_root() {
    command -v apt-get >/dev/null || die "missing here, and there is no apt-get to install it with: $*"
    [ "$(id -u)" = 0 ] || die "missing here: $*. Run this once as root, or install them with apt-get"
}

# apt_get VERB ARGUMENT...: silent, unless it fails.
apt_get() {
    local verb=$1 said
    shift
    said=$(DEBIAN_FRONTEND=noninteractive apt-get "$verb" -qq -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 \
        --no-install-recommends "$@" 2>&1 </dev/null) || die "apt-get $verb $*: $said"
}
