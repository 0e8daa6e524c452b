#!/usr/bin/env python3
"""benches/sizes.py: what each crate adds to the shipped rt, for docs/dependencies.md.

    CARGO_PROFILE_RELEASE_STRIP=false cargo build --release --target x86_64-unknown-linux-musl
    benches/sizes.py target/x86_64-unknown-linux-musl/release/rt

Two figures of bytes for each crate: of the functions and tables that are its own, by the crate that a symbol's
name begins with; and of all that it has a part in, such as the instances of another crate's generic functions for
its types, which counts for more than one crate. Needs nm of binutils 2.36 or newer, which reads Rust's names."""

import collections
import re
import subprocess
import sys

CRATE = re.compile(r"(?<![A-Za-z0-9_:.])([a-z_][a-z0-9_]*)(?:\[[0-9a-f]+\])?::")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    command = ["nm", "--demangle=rust", "-S", "--defined-only", sys.argv[1]]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    own, part = collections.Counter(), collections.Counter()
    seen = set()
    for line in lines:
        fields = line.split(" ", 3)
        # Without a size, or the same bytes by another name.
        if len(fields) != 4 or fields[0] in seen:
            continue
        seen.add(fields[0])
        size = int(fields[1], 16)
        crates = CRATE.findall(fields[3]) or ["(C library, assembler, unwinder)"]
        own[crates[0]] += size
        for crate in set(crates):
            part[crate] += size
    if not seen:
        sys.exit("no symbols: the program was stripped")
    print(f"{'crate':34}{'own':>10}{'has a part in':>16}")
    for crate, size in part.most_common():
        print(f"{crate:34}{own[crate]:10}{size:16}")


main()
