//! Lists of processors and memory nodes as people write them: `0-3,7`.

/// More processors than any kernel is built for (`NR_CPUS`).
pub const MAX_CPUS: usize = 8192;

/// The words of a mask with the bits of the list; bit n of the whole is number n. All
/// numbers are below `limit`.
pub fn mask(list: &str, limit: usize) -> Result<Vec<u64>, String> {
    let mut words = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first, limit)?, number(last, limit)?);
        if first > last {
            return Err(format!("the range {part} runs backwards"));
        }
        words.resize(words.len().max(last / 64 + 1), 0);
        (first..=last).for_each(|bit| words[bit / 64] |= 1u64 << (bit % 64));
    }
    Ok(words)
}

/// The same as the kernel reads it in a cpuset (bitmap_parselist in lib/bitmap-str.c): with white
/// space between the parts, empty parts, and strides, of which `0-15:2/4` takes the first two of
/// each four. `None` for what the kernel refuses, and for its words `all` and `N`.
pub fn kernel_list(list: &str, limit: usize) -> Option<Vec<u64>> {
    let mut words = Vec::new();
    let is_space = |c: char| c == ',' || c.is_ascii_whitespace();
    for part in list.split(is_space).filter(|part| !part.is_empty()) {
        let (range, stride) = match part.split_once(':') {
            Some((range, stride)) => (range, Some(stride.split_once('/')?)),
            None => (part, None),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (first, last),
            None if stride.is_some() => return None,
            None => (range, range),
        };
        let (first, last) = (number(first, limit).ok()?, number(last, limit).ok()?);
        let (used, group) = match stride {
            Some((used, group)) => {
                (number(used, usize::MAX).ok()?, number(group, usize::MAX).ok()?)
            }
            None => (1, 1),
        };
        if first > last || group == 0 || used > group {
            return None;
        }
        words.resize(words.len().max(last / 64 + 1), 0);
        let taken = (first..=last).filter(|bit| (bit - first) % group < used);
        taken.for_each(|bit| words[bit / 64] |= 1u64 << (bit % 64));
    }
    Some(words)
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
            ("128", None),
            ("all", None),
            ("0-N", None),
            ("x", None),
        ] {
            assert_eq!(kernel_list(list, 128), mask, "{list:?}");
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
