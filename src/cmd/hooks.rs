//! The hooks that start and delete find in the configuration that create has kept. It was
//! checked then; edits of the bundle since do not count.

use serde::Deserialize;

use crate::diag::findings::Findings;
use crate::error::{Error, Result};
use crate::model::hooks::Hooks;
use crate::plan::hooks::{self};
use crate::state::Container;

#[derive(Deserialize)]
struct Document {
    hooks: Option<oci_spec::runtime::Hooks>,
}

/// The hooks of a container, from the copy in its state directory; it is not read when the
/// record says that there are none left to run.
pub(super) fn hooks_of(container: &Container) -> Result<Hooks> {
    if !container.record.later_hooks {
        return Ok(Hooks::default());
    }
    let bytes = container.dir.config()?;
    parse(&bytes).map_err(|error| {
        error.within(format!("the configuration kept of container {}", container.id()))
    })
}

fn parse(bytes: &[u8]) -> Result<Hooks> {
    let document: Document = serde_json::from_slice(bytes)
        .map_err(|error| Error::new("cannot be read").detail(error.to_string()))?;
    let mut findings = Findings::default();
    let hooks = hooks::plan(document.hooks.as_ref(), &mut findings);
    findings.into_result().map(|_| hooks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_matters_is_read() {
        let text = br#"{"ociVersion":"1.2.0","hooks":{"poststop":[{"path":"/x"}]},"root":7}"#;
        assert_eq!(parse(text).expect("hooks").poststop.len(), 1);
        assert_eq!(parse(br#"{"process":{}}"#).expect("none"), Hooks::default());
        assert_eq!(parse(br#"{"hooks":null}"#).expect("null"), Hooks::default());
        assert!(parse(br#"{"hooks":{"poststop":[{"path":"x"}]}}"#).is_err());
        assert!(parse(b"{").is_err());
    }
}
