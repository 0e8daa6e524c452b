//! How `rt` is linked, and which commit it says that it is.

use std::env::var;
use std::fs::read_to_string;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=link/hot.ld");
    println!("cargo::rustc-check-cfg=cfg(first_start)");
    let root = PathBuf::from(var("CARGO_MANIFEST_DIR").unwrap_or_default());
    let is = |name: &str, value: &str| var(name).is_ok_and(|found| found == value);
    let shipped = is("CARGO_CFG_TARGET_ENV", "musl") && is("PROFILE", "release");
    // Only as it is shipped: other linkers than those of GNU and LLVM do not take such a script.
    if shipped {
        println!("cargo::rustc-link-arg-bin=rt=-Wl,-T,{}/link/hot.ld", root.display());
        // Not for glibc, which looks at registers that are not kept; on RISC-V, data is found by one
        // that the C library has yet to set.
        if ["x86_64", "aarch64"].iter().any(|arch| is("CARGO_CFG_TARGET_ARCH", arch)) {
            println!("cargo::rustc-link-arg-bin=rt=-Wl,--entry=rt_start");
            println!("cargo::rustc-cfg=first_start");
        }
    }
    warn_of_lost_flags(shipped);

    println!("cargo::rerun-if-env-changed=RT_COMMIT");
    let commit = var("RT_COMMIT").ok().or_else(|| of_git(&root)).or_else(|| of_archive(&root));
    println!("cargo::rustc-env=RT_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    println!("cargo::rustc-env=RT_TARGET={}", var("TARGET").unwrap_or_default());
}

/// Cargo takes compiler flags from one place only: RUSTFLAGS, which distributions set for all that
/// they build, or a configuration above ours replaces those of .cargo/config.toml.
fn warn_of_lost_flags(shipped: bool) {
    const NEEDED: &str = "-C target-feature=+crt-static -C symbol-mangling-version=v0";
    let features = var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let flags = var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let lost = if !features.split(',').any(|feature| feature == "crt-static") {
        "this rt is not static: it needs the C library at each start, which takes longer"
    } else if shipped && !flags.contains("symbol-mangling-version=v0") {
        "link/hot.ld finds no function by its name, so that this rt starts more slowly"
    } else {
        return;
    };
    println!(
        "cargo::warning=RUSTFLAGS, or another configuration of cargo, replaces the flags of \
         .cargo/config.toml: {lost}. Add {NEEDED} to it"
    );
}

/// The commit that is checked out. The files are read here, since git(1) may be missing, and refuses
/// the directory of another user, as root's builds are in one.
fn of_git(root: &Path) -> Option<String> {
    let mut git = root.join(".git");
    // In a worktree it is a file that names the directory.
    if let Ok(text) = read_to_string(&git) {
        git = root.join(text.strip_prefix("gitdir:")?.trim());
    }
    let watched = |path: PathBuf| {
        let text = read_to_string(&path).ok()?;
        println!("cargo::rerun-if-changed={}", path.display());
        Some(text)
    };
    let head = watched(git.join("HEAD"))?;
    let Some(name) = head.trim().strip_prefix("ref: ") else { return hash(&head) };
    // A commit makes a file for a branch that was only in packed-refs: the log tells of it.
    watched(git.join("logs/HEAD"));
    // Branches are shared by all worktrees.
    let common =
        read_to_string(git.join("commondir")).map_or(git.clone(), |dir| git.join(dir.trim()));
    if let Some(text) = watched(common.join(name)) {
        return hash(&text);
    }
    let packed = watched(common.join("packed-refs"))?;
    packed.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' ').and_then(hash))
}

/// The commit that `git archive` wrote into the file.
fn of_archive(root: &Path) -> Option<String> {
    println!("cargo::rerun-if-changed=link/commit");
    hash(&read_to_string(root.join("link/commit")).ok()?)
}

fn hash(text: &str) -> Option<String> {
    let text = text.trim();
    let is_hash = text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| text.to_string())
}
