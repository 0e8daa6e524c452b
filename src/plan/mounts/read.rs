//! `mounts[].options`, sorted by what they mean.

use oci_spec::runtime::Mount as SpecMount;

use super::CONTEXTS;
use super::attributes::{self, Subject};
use super::id_map::Asked;
use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::mount::{Attributes, Links, Parameter};
use crate::plan::options::{self, LinkWord, Word};

/// The options of one mount.
#[derive(Default)]
pub(super) struct Options {
    /// Those about attributes and propagation, in their order.
    pub(super) words: Vec<Word>,
    /// A copy of another mount; with everything below it, if any word says so.
    pub(super) bind: Option<bool>,
    pub(super) remount: bool,
    /// Which option asks for a copy of what is covered.
    pub(super) copy_up: Option<Field>,
    /// Which option asks for mapped ids.
    pub(super) id_map: Option<Asked>,
    /// What becomes of links, and which option was the last to say so.
    pub(super) links: Option<(Field, Links)>,
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
        if let Some(asked) = Asked::with_mappings(option, at) {
            self.id_map = Some(asked);
            return;
        }
        match options::word(option) {
            Some(word @ (Word::Attr { .. } | Word::TakeBack(_))) => self.words.push(word),
            Some(word @ Word::Propagation { .. }) => {
                let other =
                    |known: &Word| matches!(known, Word::Propagation { .. }) && *known != word;
                if self.words.iter().any(other) {
                    findings.refuse_value(at, option, "a second propagation type");
                }
                self.words.push(word);
            }
            // A later `bind` never takes the submounts of an `rbind` back.
            Some(Word::Bind { recursive }) => {
                self.bind = Some(recursive || self.bind == Some(true));
            }
            Some(Word::Nothing) => {}
            Some(Word::TmpCopyUp) => self.copy_up = Some(at.clone()),
            Some(Word::IdMap { recursive }) => {
                self.id_map = Some(Asked { at: at.clone(), recursive, mappings: None });
            }
            Some(Word::Link(word)) => {
                let mut links = self.links.take().map_or(Links::default(), |(_, links)| links);
                match word {
                    LinkWord::Copy => links.copy = true,
                    LinkWord::OfSource => links.of_source = true,
                    LinkWord::OfTarget => links.of_target = true,
                }
                self.links = Some((at.clone(), links));
            }
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

    /// What the words ask of a mount.
    pub(super) fn attributes(&self, subject: Subject) -> Attributes {
        attributes::of(&self.words, subject)
    }

    /// Whether a new file system is to be read-only.
    pub(super) fn readonly(&self) -> bool {
        self.attributes(Subject::New).readonly()
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
        self.refuse_parameters_but(|_| false, kind, findings);
    }

    /// The same of a new bind, where engines have left words of their own.
    pub(super) fn refuse_parameters_of_bind(&self, findings: &mut Findings) {
        let of_engines = |parameter: &Parameter| {
            let key = parameter.key.to_string_lossy();
            options::is_of_engines(&key, parameter.value.is_some())
        };
        for parameter in self.parameters.iter().filter(|parameter| of_engines(parameter)) {
            let word = parameter.key.to_string_lossy();
            findings.notice(&parameter.field, format!("{word} is a word for engines, ignored"));
        }
        self.refuse_parameters_but(of_engines, "a bind mount", findings);
    }

    fn refuse_parameters_but(
        &self,
        allowed: impl Fn(&Parameter) -> bool,
        kind: &str,
        findings: &mut Findings,
    ) {
        for parameter in self.parameters.iter().filter(|parameter| !allowed(parameter)) {
            let word = parameter.key.to_string_lossy().into_owned();
            findings.refuse_value(&parameter.field, word, format!("unknown option for {kind}"));
        }
        if let Some(at) = &self.old_only {
            findings.refuse(at, format!("has no meaning for {kind}"));
        }
    }
}
