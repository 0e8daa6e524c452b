//! Descriptors that one step opens and a later one needs.

use std::cell::Cell;
use std::rc::Rc;

use crate::sys::RawFd;

/// How many sources can be kept open: many would meet RLIMIT_NOFILE.
pub const MOST_TREES: usize = 32;

/// A descriptor that one step opens and a later one needs; -1 until then.
pub type Kept = Rc<Cell<RawFd>>;
