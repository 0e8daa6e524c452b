//! Points in time as RFC 3339 in UTC: no time zone data are read.

use std::time::Duration;

use crate::sys::clock;

/// Now, with nanoseconds and without their trailing zeros.
pub fn now() -> String {
    format(clock::since_1970())
}

fn format(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if since_1970.subsec_nanos() > 0 {
        let fraction = format!(".{:09}", since_1970.subsec_nanos());
        text += fraction.trim_end_matches('0');
    }
    text + "Z"
}

/// The Gregorian date of a day counted from 1970-01-01, by eras of 400 years that
/// begin on 1 March, so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        let cases = [
            (0, 0, "1970-01-01T00:00:00Z"),
            (951_782_399, 0, "2000-02-28T23:59:59Z"),
            (951_782_400, 120_000_000, "2000-02-29T00:00:00.12Z"),
            (1_709_251_200, 0, "2024-03-01T00:00:00Z"),
            (1_795_248_725, 7, "2026-11-21T08:12:05.000000007Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00Z"),
        ];
        for (seconds, nanos, text) in cases {
            assert_eq!(format(Duration::new(seconds, nanos)), text);
        }
    }
}
