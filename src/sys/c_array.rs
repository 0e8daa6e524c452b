//! String arrays for execve(2). Made by the parent; to hand one over is child-safe.

use std::ffi::{CStr, CString, c_char};
use std::ptr;

/// A null-terminated array of NUL-terminated strings, as execve(2) takes it, with room
/// for one string more.
#[derive(Debug)]
pub struct CArray {
    strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl CArray {
    /// Takes the strings and lays out the pointers.
    pub fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([ptr::null(); 2]).collect();
        CArray { strings, pointers }
    }

    /// The array for the kernel.
    pub fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }

    /// The array for the kernel with one string more, which must live until it is used.
    pub(super) fn with_extra(&mut self, extra: Option<&CStr>) -> *const *const c_char {
        if let Some(spare) = self.pointers.get_mut(self.strings.len()) {
            *spare = extra.map_or(ptr::null(), CStr::as_ptr);
        }
        self.pointers.as_ptr()
    }

    /// The strings, for people.
    pub fn strings(&self) -> impl Iterator<Item = &CStr> {
        self.strings.iter().map(CString::as_c_str)
    }
}
