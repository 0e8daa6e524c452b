//! How `rt` is linked.

use std::env::var;

fn main() {
    println!("cargo::rerun-if-changed=link/hot.ld");
    println!("cargo::rustc-check-cfg=cfg(first_start)");
    let is = |name: &str, value: &str| var(name).is_ok_and(|found| found == value);
    // Only as it is shipped: other linkers than those of GNU and LLVM do not take such a script.
    if is("CARGO_CFG_TARGET_ENV", "musl") && is("PROFILE", "release") {
        let root = var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo::rustc-link-arg-bin=rt=-Wl,-T,{root}/link/hot.ld");
        // Not for glibc, which looks at registers that are not kept; on RISC-V, data is found by one
        // that the C library has yet to set.
        if ["x86_64", "aarch64"].iter().any(|arch| is("CARGO_CFG_TARGET_ARCH", arch)) {
            println!("cargo::rustc-link-arg-bin=rt=-Wl,--entry=rt_start");
            println!("cargo::rustc-cfg=first_start");
        }
    }
}
