//! `ociVersion`: a version of SemVer 2.0.0 whose major number is ours.

#![forbid(unsafe_code)]

/// Why a version is refused, or `None`.
pub fn refused(version: &str) -> Option<&'static str> {
    match major(version) {
        None => Some("is not a version like 1.3.0"),
        Some("1") => None,
        Some(_) => Some("is not supported: this runtime follows version 1 of the specification"),
    }
}

/// The major number of `MAJOR.MINOR.PATCH[-PRERELEASE][+BUILD]`.
fn major(version: &str) -> Option<&str> {
    let (rest, build) = cut(version, '+');
    let (numbers, prerelease) = cut(rest, '-');
    let labels = [prerelease, build];
    let mut numbers = numbers.split('.');
    let (major, minor, patch) = (numbers.next()?, numbers.next()?, numbers.next()?);
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits && (text == "0" || !text.starts_with('0'))
    };
    let label = |text: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        text.split('.').all(|part| !part.is_empty() && part.bytes().all(known))
    };
    let valid = [major, minor, patch].into_iter().all(number)
        && numbers.next().is_none()
        && labels.into_iter().flatten().all(label);
    valid.then_some(major)
}

fn cut(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for version in [
            "1.0.0",
            "1.3.0",
            "1.99.0",
            "1.3.0-dev",
            "1.2.1+dev",
            "1.0.0-rc5",
            "1.0.0-rc5+dev",
            "1.0.2-dev",
        ] {
            assert_eq!(refused(version), None, "{version}");
        }
        for version in [
            "", "banana", "1", "1.0", "1.0.0.0", "01.0.0", "1.0.0-", "1.0.0+", "v1.0.0", "1.0.0 ",
            "-1.0.0", "1.0.x", "1..0",
        ] {
            assert_eq!(refused(version), Some("is not a version like 1.3.0"), "{version}");
        }
        for version in ["0.1.0", "2.0.0", "10.0.0"] {
            assert!(
                refused(version).is_some_and(|text| text.contains("not supported")),
                "{version}"
            );
        }
    }
}
