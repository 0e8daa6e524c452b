//! `linux.resources`, as far as it may hold what oci-spec's types do not.

#![forbid(unsafe_code)]

use super::tree::{Json, Object};

/// Prepares `linux.resources` of a whole config.json.
pub fn of_spec(root: &mut Json<'_>) {
    let linux = root.object_mut().and_then(|root| root.get_mut("linux")?.object_mut());
    let resources = linux.and_then(|linux| linux.get_mut("resources")?.object_mut());
    if let Some(resources) = resources {
        narrow(resources);
    }
}

/// Prepares what `rt update` is given, in which the case of keys does not count. A member without
/// anything in it changes nothing: oci-spec would make a limit of 0 tasks of it.
pub fn of_update(json: &mut Json<'_>) {
    let Some(resources) = json.object_mut() else { return };
    narrow(resources);
    let Some(pids) = key(resources, "pids") else { return };
    let is_unset =
        |(key, value): (&str, &Json<'_>)| key.eq_ignore_ascii_case("limit") && *value == Json::Null;
    if matches!(resources.get(&pids), Some(Json::Object(members)) if members.iter().all(is_unset)) {
        resources.remove(&pids);
    }
}

/// hugepageLimits[].limit is of 64 bits without a sign, and oci-spec's has one. The largest with a
/// sign is no limit to the kernel, as all above it are.
fn narrow(resources: &mut Object<'_>) {
    const LARGEST: u64 = i64::MAX as u64;
    let Some(limits) = key(resources, "hugepageLimits") else { return };
    let limits = resources.get_mut(&limits).and_then(Json::array_mut);
    for limit in limits.into_iter().flatten().filter_map(Json::object_mut) {
        let Some(key) = key(limit, "limit") else { continue };
        if let Some(Json::Unsigned(value)) = limit.get_mut(&key) {
            *value = (*value).min(LARGEST);
        }
    }
}

/// The key of the document that is this one but for case. Where another case is an error, somebody
/// else says so.
fn key(object: &Object<'_>, wanted: &str) -> Option<String> {
    let same = |(key, _): &(&str, &Json<'_>)| key.eq_ignore_ascii_case(wanted);
    object.iter().find(same).map(|(key, _)| key.to_owned())
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{LinuxResources, Spec};

    use super::super::{tree, typed};
    use super::*;

    fn updated(text: &str) -> Result<LinuxResources, String> {
        let mut json = tree::parse(text.as_bytes()).expect("JSON");
        of_update(&mut json);
        typed::read_whole(&json).map_err(|violation| violation.to_string())
    }

    #[test]
    fn an_update_of_pids_without_a_limit_changes_nothing() {
        for text in [
            r#"{"pids":{}}"#,
            r#"{"Pids":{}}"#,
            r#"{"PIDS":{"Limit":null}}"#,
            r#"{"pids":null}"#,
            "{}",
        ] {
            assert_eq!(updated(text).expect(text), LinuxResources::default(), "{text}");
        }
        for text in [r#"{"pids":{"limit":5}}"#, r#"{"Pids":{"Limit":5}}"#] {
            let limit = updated(text).expect(text).pids().map(|pids| pids.limit());
            assert_eq!(limit, Some(5), "{text}");
        }
        let error = updated(r#"{"pids":{"limits":5}}"#).expect_err("an unknown key");
        assert!(error.contains("pids.limits"), "{error}");
    }

    #[test]
    fn limits_on_huge_pages_have_64_bits() {
        let limit = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":18446744073709551615}]}"#;
        let limits = updated(limit).expect("resources").hugepage_limits().clone();
        assert_eq!(limits.expect("limits")[0].limit(), i64::MAX);
        let text = format!(r#"{{"ociVersion":"1.2.0","linux":{{"resources":{limit}}}}}"#);
        let mut json = tree::parse(text.as_bytes()).expect("JSON");
        of_spec(&mut json);
        let spec: Spec = typed::read(&json, &mut Vec::new()).expect("a configuration");
        let resources = spec.linux().as_ref().and_then(|linux| linux.resources().clone());
        let limits = resources.and_then(|resources| resources.hugepage_limits().clone());
        assert_eq!(limits.expect("limits")[0].limit(), i64::MAX);
    }
}
