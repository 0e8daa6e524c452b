//! Values of cgroup files as the kernel reads them. `unified` and `update` may hold any text that
//! the kernel takes: what systemd is told, and what memory in use is compared with, has to be the
//! same number. `None` is a value that the kernel refuses, or one that means nothing else here.

/// `max`.
pub const MAX: u64 = u64::MAX;

/// Bounds of cpu.max in microseconds (kernel/sched/core.c, tg_set_cfs_bandwidth).
const SHORTEST: u64 = 1_000;
const LONGEST_PERIOD: u64 = 1_000_000;
const LARGEST_QUOTA: u64 = (1 << 44) - 1;

/// A limit on memory: page_counter_memparse, which knows `max`, hexadecimal and octal numbers, and
/// one suffix (memparse in lib/cmdline.c).
pub fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    if text == "max" {
        return Some(MAX);
    }
    let (number, rest) = number(text);
    let shift = match rest {
        "" if rest.len() < text.len() => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        "P" | "p" => 50,
        "E" | "e" => 60,
        _ => return None,
    };
    // Bits that do not fit are lost there, too.
    Some(number << shift)
}

/// simple_strtoull with base 0: the number, and what comes behind it.
fn number(text: &str) -> (u64, &str) {
    let (base, digits) = radix(text);
    let end = digits.find(|c: char| !c.is_digit(base)).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at(end);
    let add = |sum: u64, digit: u32| sum.wrapping_mul(base.into()).wrapping_add(digit.into());
    (digits.chars().filter_map(|c| c.to_digit(base)).fold(0, add), rest)
}

/// `0x1f` and `017`.
fn radix(text: &str) -> (u32, &str) {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) if digits.starts_with(|c: char| c.is_ascii_hexdigit()) => (16, digits),
        _ if text.starts_with('0') => (8, text),
        _ => (10, text),
    }
}

/// kstrtoll with base 0: the files that hold one number.
pub fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (base, digits) = radix(digits);
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(base)) {
        return None;
    }
    let value = i128::from(u64::from_str_radix(digits, base).ok()?);
    i64::try_from(if negative { -value } else { value }).ok()
}

/// cpu.max.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuMax {
    /// Microseconds, or [`MAX`].
    pub quota: u64,
    /// Microseconds. Without one, that in force stays.
    pub period: Option<u64>,
}

/// `QUOTA [PERIOD]`, both decimal.
pub fn cpu_max(text: &str) -> Option<CpuMax> {
    let mut words = text.split_ascii_whitespace();
    let decimal = |word: &str| match word.bytes().all(|byte| byte.is_ascii_digit()) {
        true => word.parse::<u64>().ok(),
        false => None,
    };
    let quota = match words.next()? {
        "max" => MAX,
        word => decimal(word).filter(|quota| (SHORTEST..=LARGEST_QUOTA).contains(quota))?,
    };
    let in_range = |period: &u64| (SHORTEST..=LONGEST_PERIOD).contains(period);
    let period = match words.next() {
        Some(word) => Some(decimal(word).filter(in_range)?),
        None => None,
    };
    words.next().is_none().then_some(CpuMax { quota, period })
}

/// BFQ has the range of the field, 10 to 1000; io.weight has 1 to 10000.
pub fn scaled(weight: u64) -> u64 {
    1 + weight.saturating_sub(10) * 9_999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_memparse() {
        for (text, value) in [
            ("max", Some(MAX)),
            ("0", Some(0)),
            ("67108864", Some(64 << 20)),
            ("64M", Some(64 << 20)),
            ("64m", Some(64 << 20)),
            ("0x10", Some(16)),
            ("0X1G", Some(1 << 30)),
            // E is a digit here, and a suffix there.
            ("0x1E", Some(30)),
            ("1E", Some(1 << 60)),
            ("1P", Some(1 << 50)),
            ("010", Some(8)),
            ("010K", Some(8 << 10)),
            // No digit at all is 0, as long as there is a suffix.
            ("K", Some(0)),
            ("18446744073709551616", Some(0)),
            ("16E", Some(0)),
            ("08", None),
            ("0x", None),
            ("1KB", None),
            ("1x", None),
            ("-1", None),
            ("+1", None),
            ("", None),
            ("Max", None),
            ("1 K", None),
        ] {
            assert_eq!(bytes(text), value, "{text}");
        }
    }

    #[test]
    fn integers_are_those_of_kstrtoll() {
        for (text, value) in [
            ("0", Some(0)),
            ("+1", Some(1)),
            ("-7", Some(-7)),
            ("0x1f", Some(31)),
            ("010", Some(8)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("-9223372036854775808", Some(i64::MIN)),
            ("08", None),
            ("0x", None),
            ("1K", None),
            ("max", None),
            ("--1", None),
            ("", None),
        ] {
            assert_eq!(integer(text), value, "{text}");
        }
    }

    #[test]
    fn a_quota_is_what_the_kernel_would_take() {
        let both = |quota, period| Some(CpuMax { quota, period });
        for (text, value) in [
            ("50000", both(50_000, None)),
            ("max", both(MAX, None)),
            ("50000 20000", both(50_000, Some(20_000))),
            ("max 1000000", both(MAX, Some(1_000_000))),
            ("0 100000", None),
            ("999 100000", None),
            ("1000 999", None),
            ("1000 1000001", None),
            ("17592186044416 1000", None),
            ("0x2000 100000", None),
            ("+1000", None),
            ("1000 1000 1000", None),
            ("some", None),
            ("", None),
        ] {
            assert_eq!(cpu_max(text), value, "{text}");
        }
    }
}
