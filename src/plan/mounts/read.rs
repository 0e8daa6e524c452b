//! `mounts[].options`, sorted by what they mean.

use oci_spec::runtime::Mount as SpecMount;

use super::{CONTEXTS, Parameter};
use crate::plan::field::Field;
use crate::plan::findings::Findings;
use crate::plan::options::{self, Word};
use crate::sys::mount::{MountAttr, attr};

/// The options of one mount.
#[derive(Default)]
pub(super) struct Options {
    pub(super) attr: MountAttr,
    pub(super) tree_attr: MountAttr,
    /// Whether any word was about attributes of the mount itself.
    pub(super) names_attributes: bool,
    pub(super) propagation: u64,
    pub(super) tree_propagation: u64,
    pub(super) bind: Option<bool>,
    pub(super) remount: bool,
    /// Which option asks for a copy of what is covered.
    pub(super) copy_up: Option<Field>,
    /// Which option asks for mapped ids, and whether for the whole tree.
    pub(super) id_map: Option<(Field, bool)>,
    /// `MS_*` flags of the superblock.
    pub(super) superblock: u64,
    /// Which option asks for a flag that only mount(2) takes.
    pub(super) old_only: Option<Field>,
    /// What goes to the file system, the superblock's flags by their names among them.
    pub(super) parameters: Vec<Parameter>,
}

impl Options {
    pub(super) fn read(spec: &SpecMount, field: &Field, findings: &mut Findings) -> Self {
        let mut read = Options::default();
        let field = field.key("options");
        for (index, option) in spec.options().iter().flatten().enumerate() {
            read.option(option, &field.at(index), findings);
        }
        read
    }

    fn option(&mut self, option: &str, at: &Field, findings: &mut Findings) {
        match options::word(option) {
            Some(Word::Attr { set, clear, recursive }) => {
                let attr = if recursive { &mut self.tree_attr } else { &mut self.attr };
                // The last word wins, as in mount(8).
                attr.set = attr.set & !clear | set;
                attr.clear = attr.clear & !set | clear;
                self.names_attributes |= !recursive;
            }
            Some(Word::TakeBack(earlier)) => {
                // `norelatime` takes back the access time that no bit stands for.
                let time = earlier & attr::ATIME;
                if (earlier == 0 || time != 0) && self.attr.set & attr::ATIME == time {
                    self.attr.clear &= !attr::ATIME;
                }
                self.attr.set &= !earlier;
                self.names_attributes = true;
            }
            Some(Word::Propagation { kind, recursive }) => {
                if self.propagation != 0 || self.tree_propagation != 0 {
                    findings.refuse_value(at, option, "a second propagation type");
                }
                *(if recursive { &mut self.tree_propagation } else { &mut self.propagation }) =
                    kind;
            }
            Some(Word::Bind { recursive }) => self.bind = Some(recursive),
            Some(Word::Nothing) => {}
            Some(Word::TmpCopyUp) => self.copy_up = Some(at.clone()),
            Some(Word::IdMap { recursive }) => self.id_map = Some((at.clone(), recursive)),
            Some(Word::Remount) => self.remount = true,
            Some(Word::Superblock { set, clear, by_name }) => {
                self.superblock = self.superblock & !clear | set;
                if by_name {
                    self.parameter(option, at, findings);
                } else if set != 0 {
                    self.old_only = Some(at.clone());
                }
            }
            // An empty list of options, split by somebody.
            None if option.is_empty() => {}
            None => self.parameter(option, at, findings),
        }
    }

    fn parameter(&mut self, option: &str, at: &Field, findings: &mut Findings) {
        let (key, value) = match option.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (option, None),
        };
        // mount(8) quotes a context, which may have commas; fsconfig(2) takes it as it is.
        let unquoted = value.and_then(|value| value.strip_prefix('"')?.strip_suffix('"'));
        let context = unquoted.filter(|_| CONTEXTS.contains(&key));
        let value = context.or(value);
        let commas = context.is_none() && value.is_some_and(|value| value.contains(','));
        if key.is_empty() || key.contains(',') || commas {
            findings.refuse_value(at, option, "must be one option, without a comma");
            return;
        }
        let key = findings.c_string(at, key);
        let value = value.map(|value| findings.c_string(at, value));
        self.parameters.push(Parameter { key, value, field: at.clone() });
    }

    /// A bind has the superblock of its source: parameters would be lost.
    pub(super) fn refuse_parameters(&self, kind: &str, findings: &mut Findings) {
        for parameter in &self.parameters {
            let word = parameter.key.to_string_lossy().into_owned();
            findings.refuse_value(&parameter.field, word, format!("unknown option for {kind}"));
        }
        if let Some(at) = &self.old_only {
            findings.refuse(at, format!("has no meaning for {kind}"));
        }
    }
}
