//! Attributes and propagation of the mounts of one entry, decided over all its words at once.
//!
//! A recursive word (`rro`) is about the whole tree, its top included; a plain one (`ro`) about
//! the top alone. Where both are about the same attribute the recursive one holds, in whatever
//! order they stand, as with runc: a plain word never takes back on the top what was asked for
//! the tree. Engines write both side by side: `rro` with the attributes that a user namespace
//! keeps locked on the source.

use crate::model::mount::Attributes;
use crate::plan::options::Word;
use crate::sys::mount::{MountAttr, attr};

/// Those that a copied mount loses when others are named.
const PLAIN: u64 = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::NOSYMFOLLOW;

/// What the words are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A mount that has no attributes yet and nothing below it.
    New,
    /// A copy of one mount.
    Copy,
    /// A copy of a mount with everything below it, or a mount that is there already.
    Tree,
    /// Of the host's, bound by ourselves in place of a new file system: what was asked of that
    /// one goes for all that is shown instead, and nothing of what the host has is taken back.
    OfHost {
        /// Unless a word says `rw`.
        readonly: bool,
    },
}

/// The attributes that the words of one entry ask for.
pub fn of(words: &[Word], subject: Subject) -> Attributes {
    let plain = fold(words, false);
    let tree = fold(words, true);
    let beside = without(plain, tree);
    let names_plain = words.iter().any(|word| match word {
        Word::Attr { recursive, .. } => !recursive,
        Word::TakeBack(_) => true,
        _ => false,
    });
    let named = plain.set | plain.clear | tree.set | tree.clear;
    let unnamed = if names_plain { PLAIN & !named } else { 0 };
    match subject {
        Subject::New => Attributes { top: both(tree, beside), ..Attributes::default() },
        Subject::Copy => Attributes {
            top: both(tree, times_of_copy(beside, tree)),
            tree: MountAttr::default(),
            unnamed,
        },
        Subject::Tree => Attributes { tree, top: times_of_copy(beside, tree), unnamed },
        Subject::OfHost { readonly } => {
            let asked = both(tree, beside);
            let forced = if readonly && asked.clear & attr::RDONLY == 0 { attr::RDONLY } else { 0 };
            let tree = MountAttr { set: asked.set & PLAIN | forced, clear: 0, ..asked };
            Attributes { tree, ..Attributes::default() }
        }
    }
}

/// What the recursive words, or the plain ones, ask for. The last of them wins, as in mount(8).
fn fold(words: &[Word], of_tree: bool) -> MountAttr {
    let mut asked = MountAttr::default();
    for word in words {
        match *word {
            Word::Attr { set, clear, recursive } if recursive == of_tree => {
                asked.set = asked.set & !clear | set;
                asked.clear = asked.clear & !set | clear;
            }
            Word::TakeBack(earlier) if !of_tree => {
                // `norelatime` takes back the access time that no bit stands for.
                let time = earlier & attr::ATIME;
                if (earlier == 0 || time != 0) && asked.set & attr::ATIME == time {
                    asked.clear &= !attr::ATIME;
                }
                asked.set &= !earlier;
            }
            Word::Propagation { kind, recursive } if recursive == of_tree => {
                asked.propagation = kind;
            }
            _ => {}
        }
    }
    asked
}

/// What `plain` asks for, but for the attributes that `tree` is about. To set an access time is
/// to clear all of its mask first.
fn without(plain: MountAttr, tree: MountAttr) -> MountAttr {
    let named = tree.set | tree.clear;
    MountAttr { set: plain.set & !named, clear: plain.clear & !named, ..plain }
}

fn both(one: MountAttr, other: MountAttr) -> MountAttr {
    MountAttr {
        set: one.set | other.set,
        clear: one.clear | other.clear,
        propagation: one.propagation | other.propagation,
        userns_fd: 0,
    }
}

/// Access times of a mount that has some already are one setting, which stays until a word for
/// another one is named.
fn times_of_copy(mut top: MountAttr, tree: MountAttr) -> MountAttr {
    if top.set & attr::NODIRATIME != 0 || top.clear & attr::ATIME != 0 {
        let named = tree.set | tree.clear;
        top.clear |= (attr::ATIME | attr::NODIRATIME & !top.set) & !named;
    }
    top
}

#[cfg(test)]
mod tests;
