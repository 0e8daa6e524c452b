//! Numbers of bytes as people write them: `64M`.

use std::str::FromStr;

/// A number of bytes as people write it: `512M`, `1.5g`, `64 MiB`, or -1 for no limit.
/// Units are powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub i64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "-1" {
            return Ok(Bytes(-1));
        }
        let wrong = || format!("{text:?} is not a size like 512M, or -1");
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
        let unit = text[digits.len()..].trim().to_ascii_lowercase();
        let unit = unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit);
        let shift = match unit {
            "" => 0,
            "k" => 10,
            "m" => 20,
            "g" => 30,
            "t" => 40,
            "p" => 50,
            _ => return Err(wrong()),
        };
        let good = |c: char| c.is_ascii_digit() || c == '.';
        if digits.is_empty() || !digits.chars().all(good) {
            return Err(wrong());
        }
        let bytes = match digits.parse::<i64>() {
            Ok(number) => number.checked_mul(1 << shift),
            Err(_) => {
                let bytes = digits.parse::<f64>().map_err(|_| wrong())? * (1_i64 << shift) as f64;
                (bytes < i64::MAX as f64).then_some(bytes as i64)
            }
        };
        bytes.map(Bytes).ok_or_else(wrong)
    }
}
