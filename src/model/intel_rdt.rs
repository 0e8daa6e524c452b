//! A group of resctrl.

use crate::diag::field::Field;

/// A group and what is written into it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IntelRdt {
    /// Name of the group; empty for the default one, which is the root.
    pub group: String,
    /// The configuration names the group: it may be there already, and stays.
    pub named: bool,
    /// What an existing group must already have, and what is written first.
    pub schemas: Vec<Schema>,
    /// Lines that are written last.
    pub schemata: Option<Schema>,
    /// Name of the container's own monitoring group.
    pub monitor: Option<String>,
}

/// What is written to `schemata` in one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// One or more lines.
    pub text: String,
    /// Where the configuration has it.
    pub field: Field,
}

impl IntelRdt {
    /// Whether a group that is not there is to be made.
    pub fn makes_group(&self) -> bool {
        !self.named || !self.schemas.is_empty() || self.schemata.is_some()
    }
}

/// Whether a group whose `schemata` file reads `current` has what `wanted` says. The kernel
/// pads numbers; a line of `wanted` may name only some of the domains.
pub fn matches(current: &str, wanted: &str) -> bool {
    let domains = |line: &str| -> Option<(String, Vec<(String, String)>)> {
        let (resource, list) = line.trim().split_once(':')?;
        let plain = |text: &str| {
            let text = text.trim().to_ascii_lowercase();
            let short = text.trim_start_matches('0');
            if short.is_empty() { "0".to_owned() } else { short.to_owned() }
        };
        let pairs = list.split(';').filter_map(|pair| pair.split_once('='));
        let pairs = pairs.map(|(domain, value)| (plain(domain), plain(value))).collect();
        Some((resource.trim().to_owned(), pairs))
    };
    let all: Vec<_> = current.lines().filter_map(domains).collect();
    wanted.lines().filter(|line| !line.trim().is_empty()).all(|line| {
        domains(line).is_some_and(|(resource, pairs)| {
            let found = all.iter().find(|(name, _)| *name == resource);
            found.is_some_and(|(_, have)| pairs.iter().all(|pair| have.contains(pair)))
        })
    })
}
