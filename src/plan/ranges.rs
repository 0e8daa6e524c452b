//! Lists of processors and memory nodes as people write them: `0-3,7`.

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
