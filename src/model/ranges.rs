//! Lists of processors and memory nodes as people write them: `0-3,7`.

/// More processors, and more memory nodes, than any kernel is built for (`NR_CPUS`).
pub const MAX_CPUS: usize = 8192;

/// The words of a mask with the bits of the list; bit n of the whole is number n. All
/// numbers are below `limit`.
pub fn mask(list: &str, limit: usize) -> Result<Vec<u64>, String> {
    let mut words = Vec::new();
    for part in list.split(',') {
        range(part, limit)?.set(&mut words);
    }
    Ok(words)
}

/// The same as the kernel reads it in a cpuset (bitmap_parselist in lib/bitmap-str.c): with white
/// space between the parts, empty parts, and strides, of which `0-15:2/4` takes the first two of
/// each four. `None` for what the kernel refuses, and for its words `all` and `N`.
pub fn kernel_list(list: &str) -> Option<Vec<u64>> {
    let mut words = Vec::new();
    let is_space = |c: char| c == ',' || c.is_ascii_whitespace();
    for part in list.split(is_space).filter(|part| !part.is_empty()) {
        let range = match part.split_once(':') {
            None => range(part, MAX_CPUS).ok()?,
            Some((numbers, stride)) if numbers.contains('-') => {
                let (used, group) = stride.split_once('/')?;
                let (used, group) = (number(used, usize::MAX), number(group, usize::MAX));
                let stride = (used.ok()?, group.ok()?);
                Range { stride, ..range(numbers, MAX_CPUS).ok()? }
            }
            Some(_) => return None,
        };
        if range.stride.1 == 0 || range.stride.0 > range.stride.1 {
            return None;
        }
        range.set(&mut words);
    }
    Some(words)
}

/// One part of a list.
struct Range {
    first: usize,
    last: usize,
    /// So many of each so many.
    stride: (usize, usize),
}

impl Range {
    fn set(&self, words: &mut Vec<u64>) {
        let Range { first, last, stride: (used, group) } = *self;
        words.resize(words.len().max(last / 64 + 1), 0);
        let taken = (first..=last).filter(|bit| (bit - first) % group < used);
        taken.for_each(|bit| words[bit / 64] |= 1u64 << (bit % 64));
    }
}

/// `N` or `N-M`.
fn range(part: &str, limit: usize) -> Result<Range, String> {
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let (first, last) = (number(first, limit)?, number(last, limit)?);
    if first > last {
        return Err(format!("the range {part} runs backwards"));
    }
    Ok(Range { first, last, stride: (1, 1) })
}

fn number(text: &str, limit: usize) -> Result<usize, String> {
    // str::parse would take a sign.
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err("must be numbers and ranges, such as 0-3,7".to_owned());
    }
    let number = text.parse().ok().filter(|number| *number < limit);
    number.ok_or_else(|| format!("{text} is more than the kernel knows ({})", limit - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_the_kernel_reads_them() {
        for (list, mask) in [
            ("0-3,7", Some(vec![0x8f])),
            (" 9, ,1 ", Some(vec![0x202])),
            ("0-15:2/4", Some(vec![0x3333])),
            ("1-15:2/4", Some(vec![0x6666])),
            ("0-6:1/2", Some(vec![0x55])),
            ("0-1:3/3", Some(vec![3])),
            ("0-3:0/2", Some(vec![0])),
            ("63-64", Some(vec![1 << 63, 1])),
            ("", Some(vec![])),
            ("0-15:2", None),
            ("0-15:3/2", None),
            ("0-15:0/0", None),
            // A stride needs a range.
            ("5:1/2", None),
            ("3-1", None),
            ("8192", None),
            ("all", None),
            ("0-N", None),
            ("x", None),
        ] {
            assert_eq!(kernel_list(list), mask, "{list:?}");
        }
    }

    #[test]
    fn lists_become_bits() {
        assert_eq!(mask("0", 64), Ok(vec![1]));
        assert_eq!(mask("0-3,7", 64), Ok(vec![0x8f]));
        assert_eq!(mask("1,64-65,3", 128), Ok(vec![0b1010, 3]));
        assert_eq!(mask("8191", 8192).expect("a mask").len(), 128);
        for bad in
            ["", ",", "1,", "-1", "1-", "3-1", "x", "+1", "1 ", "64", "9999999999999999999999"]
        {
            assert!(mask(bad, 64).is_err(), "{bad}");
        }
    }
}
