//! Which verbs have `rt` start again from a read-only copy of itself, because their process enters a
//! container. Asked twice: by `first`, before the C library, and by an ordinary start.

/// `start` is none of them: it asks for itself, when it has hooks to run. With zeros behind them, and no
/// table of pointers, which `first` could not use: nothing is relocated there.
const ENTERING: [[u8; 8]; 3] = [*b"create\0\0", *b"run\0\0\0\0\0", *b"exec\0\0\0\0"];

/// Whether a word is one of them, which ends with a zero.
#[inline(always)]
pub fn is_one(byte: impl Fn(usize) -> u8) -> bool {
    for verb in &ENTERING {
        for (at, own) in verb.iter().enumerate() {
            match byte(at) == *own {
                true if *own == 0 => return true,
                true => {}
                false => break,
            }
        }
    }
    false
}

/// The same of a word without a zero.
pub fn is_word(word: &[u8]) -> bool {
    is_one(|at| word.get(at).copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_count() {
        for (word, enters) in [
            ("create", true),
            ("run", true),
            ("exec", true),
            ("", false),
            ("start", false),
            ("ru", false),
            ("runc", false),
            ("execute", false),
            ("create-a-container", false),
        ] {
            assert_eq!(is_word(word.as_bytes()), enters, "{word:?}");
            // As it is on the stack: what stands behind the zero does not count.
            let text = [word.as_bytes(), b"\0behind it\0"].concat();
            assert_eq!(is_one(|at| text[at]), enters, "{word:?}");
        }
    }
}
