//! What a walk over the configuration found: reasons to refuse it, and things to tell.

use std::ffi::CString;

use super::field::{Field, Violation};
use crate::error::{Error, Result};

/// The longest argument or environment string of execve(2), with its NUL.
const MAX_ARG_STRLEN: usize = 131_072;

/// Collects every violation, so that the user learns of all of them at once.
#[derive(Debug, Default)]
pub struct Findings {
    /// Reasons to refuse the configuration.
    pub violations: Vec<Violation>,
    /// Warnings: what was accepted although it looks wrong.
    pub notices: Vec<String>,
}

impl Findings {
    /// Refuses because something is missing or an object as a whole is wrong.
    pub fn refuse(&mut self, field: &Field, reason: impl Into<String>) {
        self.violations.push(Violation::new(field.clone(), reason));
    }

    /// Refuses a value.
    pub fn refuse_value(
        &mut self,
        field: &Field,
        value: impl std::fmt::Debug,
        reason: impl Into<String>,
    ) {
        self.violations.push(Violation::value(field.clone(), value, reason));
    }

    /// Adds what another look has found of fields with which nothing was wrong so far.
    pub fn add(&mut self, later: Findings) {
        let known: Vec<String> = self.violations.iter().map(|v| v.field.to_string()).collect();
        let new = later.violations.into_iter();
        self.violations.extend(new.filter(|v| !known.contains(&v.field.to_string())));
        self.notices.extend(later.notices);
    }

    /// Tells the user something without failing.
    pub fn notice(&mut self, field: &Field, text: impl std::fmt::Display) {
        self.notices.push(format!("{field}: {text}"));
    }

    /// A string for a system call. The decoder lets no NUL through, and the command line
    /// cannot hold one; anything else that has one is refused here.
    pub fn c_string(&mut self, field: &Field, text: impl Into<Vec<u8>>) -> CString {
        CString::new(text).unwrap_or_else(|_| {
            self.refuse(field, "holds a NUL byte");
            CString::default()
        })
    }

    /// Strings for execve(2), with their places in the list.
    pub fn exec_strings<'a>(
        &mut self,
        field: &Field,
        list: impl Iterator<Item = (usize, &'a String)>,
    ) -> Vec<CString> {
        list.map(|(index, text)| self.exec_string(&field.at(index), text.as_str())).collect()
    }

    /// A string for execve(2).
    pub fn exec_string(&mut self, field: &Field, text: impl Into<Vec<u8>>) -> CString {
        let text = text.into();
        if text.len() >= MAX_ARG_STRLEN {
            let reason = format!("too long: {} bytes, execve(2) takes 131071", text.len());
            self.refuse(field, reason);
        }
        self.c_string(field, text)
    }

    /// Refuses what is not `NAME=value`. A name without a value would be taken from the caller's
    /// environment by some programs (CVE-2021-3602).
    pub fn check_environment(&mut self, field: &Field, given: &[String]) {
        for (index, entry) in given.iter().enumerate() {
            if entry.split_once('=').is_none_or(|(name, _)| name.is_empty()) {
                self.refuse_value(&field.at(index), entry, "must be NAME=value");
            }
        }
    }

    /// The violations as one error, or nothing.
    pub fn into_result(self) -> Result<Vec<String>> {
        self.into_result_of("config.json")
    }

    /// The same for another document than config.json.
    pub fn into_result_of(self, document: &'static str) -> Result<Vec<String>> {
        if self.violations.is_empty() {
            Ok(self.notices)
        } else {
            Err(Error::invalid_in(document, &self.violations))
        }
    }
}
