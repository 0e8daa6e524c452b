//! What start and delete need of the configuration that create has kept. It was checked
//! then; edits of the bundle since do not count.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Error, Result};
use crate::plan::hooks::{self, Hooks};
use crate::state::StateDir;

/// The parts of config.json that matter after create.
pub(super) struct Config {
    /// Whether there is a program to start.
    pub(super) has_process: bool,
    /// The hooks.
    pub(super) hooks: Hooks,
}

#[derive(Deserialize)]
struct Document {
    process: Option<IgnoredAny>,
    hooks: Option<oci_spec::runtime::Hooks>,
}

impl Config {
    /// Reads the copy in the state directory.
    pub(super) fn of(dir: &StateDir) -> Result<Self> {
        let bytes = dir.config()?;
        Config::parse(&bytes).map_err(|error| {
            error.within(format!("the configuration kept of container {}", dir.id()))
        })
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| Error::new("cannot be read").detail(error.to_string()))?;
        let mut violations = Vec::new();
        let hooks = hooks::plan(document.hooks.as_ref(), &mut violations);
        if !violations.is_empty() {
            return Err(Error::invalid(&violations));
        }
        Ok(Config { has_process: document.process.is_some(), hooks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_matters_is_read() {
        let text = br#"{"ociVersion":"1.2.0","hooks":{"poststop":[{"path":"/x"}]},"root":7}"#;
        let config = Config::parse(text).expect("config");
        assert!(!config.has_process);
        assert_eq!(config.hooks.poststop.len(), 1);
        assert!(Config::parse(br#"{"process":{}}"#).expect("config").has_process);
        assert!(!Config::parse(br#"{"process":null,"hooks":null}"#).expect("null").has_process);
        assert!(Config::parse(br#"{"hooks":{"poststop":[{"path":"x"}]}}"#).is_err());
        assert!(Config::parse(b"{").is_err());
    }
}
