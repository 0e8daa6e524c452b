# shellcheck shell=bash disable=SC2154
# What is typed in which system: functions WHO_CASE. They run as root in the fresh system, and $name is theirs.

cd_repo=/srv/rt
readme=$cd_repo/README.md
examples=$cd_repo/examples
seen=''

# The blocks of README.md: which is which.
first=1 install=2 as_root=3 as_user=4 steps=5

# check NAME COMMAND...: one test; what it says is shown when it fails.
check() {
    local test=$1
    shift
    if "$@" >/tmp/said 2>&1; then
        echo "test $name::$test ... ok"
    else
        cat /tmp/said
        printf '%s\n' "--- at the terminal:" "$(tr -d '\r' </tmp/screen | tail -n 60)" "---"
        echo "test $name::$test ... FAILED"
    fi
}

shell_of() { log_in "exec su - $1"; }

# In which directory the next block is typed.
from() { type_line "cd $1"; }

quietly() { "$@" >/tmp/said 2>&1 || { cat /tmp/said; return 1; }; }

# The package of busybox that the machine has.
have_busybox() {
    case $1 in
    none) ;;
    dynamic) quietly apt-get install -qq -y --no-install-recommends busybox ;;
    static) quietly apt-get install -qq -y --no-install-recommends busybox-static ;;
    esac
}

no_runtime_directory() {
    # shellcheck disable=SC2016  # for the shell at the terminal
    type_line '[ -z "$XDG_RUNTIME_DIR" ]'
}

# Everything in README.md that looks like commands is known here.
every_block_is_known() { [ -n "$(block "$readme" sh $steps)" ] && [ -z "$(block "$readme" sh $((steps + 1)))" ]; }

readme_first() {
    from $cd_repo && type_block $readme $first &&
        shows $'=== building rt\n=== making a root file system\n\nhostname\nfirst\n\nprocesses' &&
        ! grep -E 'W: |E: |unsandboxed' <<<"$seen" &&
        the_root_is_small
}

# A static busybox of the machine's own is taken, and otherwise the package is only downloaded.
own_busybox() {
    if [ "$1" = static ]; then
        [[ $seen != *downloading* ]]
    else
        [[ $seen == *'downloading the Debian package busybox-static'* ]]
    fi
}

# Links, and not as many names of one file: a copy of them would be as many files.
the_root_is_small() {
    local root=$cd_repo/target/first/rootfs
    [ -L $root/bin/sh ] && [ -z "$(find $root -type f -links +1)" ] && [ "$(find $root -type f -size +500k | wc -l)" = 1 ]
}

# The first command tells what it installs, and how long it takes.
says_what_it_does() {
    shows 'installing the linker that Rust needs: gcc libc6-dev' && [[ $seen == *'three minutes'* ]]
}

readme_install() {
    from $cd_repo && type_block $readme $install && [ "$(/usr/local/bin/rt --version | wc -l)" = 3 ] &&
        [[ $(LC_ALL=C ldd /usr/local/bin/rt 2>&1) =~ 'not a dynamic executable'|'statically linked' ]]
}

# The shell in the container was asked something, and has answered.
readme_shell() { from $cd_repo && type_block $readme "$1" && shows 'from inside: 42'; }

readme_steps() { from $cd_repo/bundle && type_block $readme $steps && shows $'"status": "running"\nsleep 1000'; }

# example NAME: types its README, and compares what appears.
example() {
    from "$examples/$1" && type_block "$examples/$1/README.md" 1 && shows "$(block "$examples/$1/README.md" text 1)"
}

# Without the controllers rt must say so in the words of the README, and nothing runs.
example_limits() {
    if has_controllers memory pids cpu; then
        example limits
    else
        from $examples/limits && ! type_block $examples/limits/README.md 1 && shows 'linux.resources.memory.limit in config.json'
    fi
}

has_controllers() {
    local controller
    for controller; do grep -qw "$controller" /sys/fs/cgroup/cgroup.subtree_control || return 1; done
}

# It shares the network, in which port 8080 may be somebody else's: only the Debian is made in that one.
example_debian_web() {
    from $examples/debian-web && type_line '../rootfs --debian' || return
    log_out
    log_in "exec unshare --net sh -c '$examples/debian-web/rootfs/bin/busybox ip link set lo up; exec su -'"
    example debian-web
}

nothing_is_left() {
    local left
    left=$(find /run/rt /home/newcomer/.rt/rt $cd_repo/target/state -mindepth 1 2>/dev/null
        find /sys/fs/cgroup -mindepth 1 -type d ! -name session
        ps_of_containers)
    [ -z "$left" ] || { echo "left: $left"; return 1; }
}

# Processes that are in another pid namespace than this one.
ps_of_containers() {
    local process
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/ns/pid" 2>/dev/null || true)" = "$(readlink /proc/self/ns/pid)" ] || ! [ -d "$process" ] || echo "$process"
    done
}

# --- the cases

user_without_gcc() {
    shell_of newcomer
    check the_packages_are_named tells_of_gcc
    log_out
}

tells_of_gcc() {
    from $cd_repo && ! type_block $readme $first && shows 'Rust needs a linker: have root install the packages gcc and libc6-dev'
}

root_first() {
    shell_of root
    check every_block_of_readme_is_known every_block_is_known
    check readme_first readme_first
    check it_says_what_it_installs says_what_it_does
    log_out
    check an_old_rust_is_told_before_the_build old_rust_is_told
    check another_error_than_of_limits_is_not_tried_again other_errors_end_it
    check a_static_pie_busybox_is_recognised static_pie_is_static
}

root() {
    have_busybox "$1"
    shell_of root
    check readme_first readme_first
    check the_busybox_is_the_right_one own_busybox "$1"
    check readme_install readme_install
    check readme_shell readme_shell $as_root
    check readme_steps readme_steps
    check example_hello example hello
    check example_hooks example hooks
    check example_seccomp example seccomp
    check example_limits example_limits
    check example_shell example_shell
    if [ "$1" = none ]; then
        if has_controllers memory; then check example_system example system
        else echo "test $name::example_system ... ignored (needs the v2 controller memory)"; fi
        check example_debian_web example_debian_web
    fi
    log_out
    check nothing_is_left nothing_is_left
}
root_none() { root none; }
root_dynamic() { root dynamic; }
root_static() { root static; }

example_shell() { from $examples/shell && type_block $examples/shell/README.md 1 && shows 'from inside: 42'; }

user() {
    have_busybox "$1"
    # A machine on which nobody has asked for packages yet.
    [ "$1" != none ] || find /var/lib/apt/lists -type f -delete
    shell_of newcomer
    check no_runtime_directory no_runtime_directory
    check readme_first readme_first
    check the_busybox_is_the_right_one own_busybox "$1"
    log_out
    shell_of root
    check readme_install readme_install
    log_out
    shell_of newcomer
    check readme_shell readme_shell $as_user
    check readme_steps readme_steps
    check example_rootless example rootless
    log_out
    check nothing_is_left nothing_is_left
}
user_none() { user none; }
user_dynamic() { user dynamic; }
user_static() { user static; }

# With a compiler of Debian 12's age in front of the real one.
old_rust_is_told() {
    mkdir -p /tmp/old
    printf '#!/bin/sh\necho "rustc 1.63.0 (4b91a6ea7 2022-08-08)"\n' >/tmp/old/rustc
    chmod 755 /tmp/old/rustc
    # shellcheck source=/dev/null
    . /etc/profile
    ! PATH=/tmp/old:$PATH $examples/build && grep -q 'newer is needed, and this is 1.63.0' /tmp/said && ! grep -q Compiling /tmp/said
}

# With a runtime that always fails in the same way.
other_errors_end_it() {
    cat >/tmp/rt <<'RT'
#!/bin/sh
case $* in *run*) echo 'rt: run first: container with given ID already exists: first' >&2; exit 1 ;; esac
exec /srv/rt/target/*/release/rt "$@"
RT
    chmod 755 /tmp/rt
    ! RT_BIN=/tmp/rt $examples/first/run && grep -q 'already exists' /tmp/said && ! grep -q 'without limits' /tmp/said
}

static_pie_is_static() {
    printf '#include <stdio.h>\nint main(void) { puts("busybox\\nsh"); return 0; }\n' >/tmp/busybox.c
    gcc -static-pie -o /usr/bin/busybox /tmp/busybox.c && $examples/rootfs /tmp/static-pie || return
    cmp /usr/bin/busybox /tmp/static-pie/bin/busybox && [ "$(readlink /tmp/static-pie/bin/sh)" = busybox ]
    local status=$?
    rm /usr/bin/busybox
    return $status
}
