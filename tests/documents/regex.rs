//! deps/regex stands in for the regex crate: it is enough for what oci-spec uses of that.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// With its own tests, which no other build would run.
#[path = "../../deps/regex/src/lib.rs"]
mod stand_in;

use self::stand_in::Regex;

/// The only module of oci-spec that is built.
const BUILT: &str = "src/runtime";

#[test]
fn oci_spec_uses_no_other_expression() {
    let sources = oci_spec().join(BUILT);
    let mut expressions = Vec::new();
    super::each_source(&sources, &mut |text| {
        for call in text.split("Regex::new(").skip(1) {
            let literal =
                call.trim_start().strip_prefix("r\"").and_then(|rest| rest.split('"').next());
            expressions.push(literal.unwrap_or("not a literal").to_owned());
        }
        for other in ["RegexBuilder", "RegexSet", "regex::bytes", ".captures(", ".find_iter("] {
            assert!(!text.contains(other), "oci-spec uses {other}");
        }
    });
    assert!(!expressions.is_empty(), "oci-spec uses no expression: deps/regex can go");
    for expression in expressions {
        Regex::new(&expression).unwrap_or_else(|error| panic!("oci-spec: {error}"));
    }
}

/// Where cargo has the sources of oci-spec.
fn oci_spec() -> PathBuf {
    let arguments = ["metadata", "--format-version", "1", "--locked", "--offline"];
    // Crates of other platforms need not be there.
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let cargo = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--filter-platform", &target])
        .current_dir(super::root())
        .output()
        .expect("cargo");
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: Value = serde_json::from_slice(&cargo.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let found = packages.iter().find(|package| package["name"] == "oci-spec").expect("oci-spec");
    let manifest = Path::new(found["manifest_path"].as_str().expect("a path"));
    manifest.parent().expect("a folder").to_owned()
}
