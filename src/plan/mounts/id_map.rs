//! Idmapped mounts: `idmap`, `ridmap`, `uidMappings` and `gidMappings`, and the form
//! `idmap=uids=0-1000-1#1-100000-65536;gids=0-1000-1` of crun(1).

use oci_spec::runtime::{LinuxIdMapping, LinuxIdMappingBuilder, Mount as SpecMount};

use super::Around;
use super::read::Options;
use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::model::mount::IdMap;
use crate::model::namespaces::{IdMapping, flag};
use crate::plan::namespaces::check_mappings;

/// The option that asks for mapped ids.
pub(super) struct Asked {
    pub(super) at: Field,
    /// With everything mounted below it.
    pub(super) recursive: bool,
    /// What stands behind the `=`.
    pub(super) mappings: Option<String>,
}

impl Asked {
    /// One that brings its own mappings along.
    pub(super) fn with_mappings(option: &str, at: &Field) -> Option<Self> {
        let (word, mappings) = option.split_once('=')?;
        let recursive = match word {
            "idmap" => false,
            "ridmap" => true,
            _ => return None,
        };
        Some(Asked { at: at.clone(), recursive, mappings: Some(mappings.to_owned()) })
    }
}

/// What is asked of one entry of `mounts`.
pub(super) fn plan(
    spec: &SpecMount,
    read: &Options,
    field: &Field,
    around: Around<'_>,
    findings: &mut Findings,
) -> Option<IdMap> {
    let (uids, gids) = (field.key("uidMappings"), field.key("gidMappings"));
    let list = |field: &Field, list: &Option<Vec<_>>, findings: &mut Findings| {
        check_mappings(field, list.as_deref().unwrap_or_default(), findings)
    };
    let uid_map = list(&uids, spec.uid_mappings(), findings);
    let gid_map = list(&gids, spec.gid_mappings(), findings);
    let (at, maps) = match (uid_map.is_empty(), gid_map.is_empty(), &read.id_map) {
        (true, true, None) => return None,
        (true, true, Some(Asked { at, mappings: Some(text), .. })) => {
            (at, Some(own_maps(text, at, around, findings)?))
        }
        (true, true, Some(Asked { at, .. })) => {
            if !around.namespaces.has(flag::USER) {
                let reason = "needs uidMappings and gidMappings, or a user namespace";
                findings.refuse(at, reason);
            }
            (at, None)
        }
        (_, _, Some(Asked { at, mappings: Some(_), .. })) => {
            findings.refuse(at, "there are uidMappings or gidMappings as well");
            return None;
        }
        (false, true, _) => {
            findings.refuse(&gids, "missing: uidMappings need it");
            return None;
        }
        (true, false, _) => {
            findings.refuse(&uids, "missing: gidMappings need it");
            return None;
        }
        (false, false, _) => (&uids, Some((uid_map, gid_map))),
    };
    let bind = read.bind.is_some() || spec.typ().as_deref() == Some("bind");
    if !bind || read.remount {
        findings.refuse(at, "only a new bind mount can be idmapped");
    }
    if around.unprivileged {
        findings.refuse(at, "only root may make an idmapped mount");
    }
    let recursive = read.id_map.as_ref().is_some_and(|asked| asked.recursive);
    Some(IdMap { recursive, maps })
}

type Maps = (Vec<IdMapping>, Vec<IdMapping>);

/// `uids=LIST;gids=LIST`, each of which is needed.
fn own_maps(text: &str, at: &Field, around: Around<'_>, findings: &mut Findings) -> Option<Maps> {
    let (mut uids, mut gids) = (None, None);
    for part in text.split(';') {
        let (into, list, of_container) = match part.split_once('=') {
            Some(("uids", list)) => (&mut uids, list, &around.namespaces.uid_map),
            Some(("gids", list)) => (&mut gids, list, &around.namespaces.gid_map),
            _ => {
                findings.refuse_value(at, part, "must be uids= or gids=");
                return None;
            }
        };
        let map = list.split('#').map(|range| lines(range, of_container));
        match map.collect::<Result<Vec<_>, _>>() {
            Ok(map) => *into = Some(check_mappings(at, &map.concat(), findings)),
            Err(reason) => {
                findings.refuse_value(at, part, reason);
                return None;
            }
        }
    }
    if uids.is_none() || gids.is_none() {
        let missing = if uids.is_none() { "uids=" } else { "gids=" };
        findings.refuse(at, format!("{missing} is missing"));
    }
    Some((uids?, gids?))
}

/// `A-B-N`: N ids from A on, as the file system has them, show as those from B on; with `@` in
/// front, B is an id of the container, which the host knows by another, or by several ranges.
fn lines(range: &str, of_container: &[IdMapping]) -> Result<Vec<LinuxIdMapping>, String> {
    let (numbers, relative) = match range.strip_prefix('@') {
        Some(numbers) => (numbers, true),
        None => (range, false),
    };
    let numbers: Result<Vec<u32>, _> = numbers.split('-').map(str::parse).collect();
    let [first, shown, size] = numbers.unwrap_or_default()[..] else {
        return Err("must be ranges of three numbers: FILE-HOST-COUNT#...".to_owned());
    };
    let line = |container: u32, host: u32, size: u32| {
        let line = LinuxIdMappingBuilder::default();
        line.container_id(container).host_id(host).size(size).build().map_err(|e| e.to_string())
    };
    if !relative || size == 0 {
        return Ok(vec![line(first, shown, size)?]);
    }
    let mut lines = Vec::new();
    let mut done = 0;
    while done < size {
        let inside = shown.checked_add(done);
        let part = inside.and_then(|id| of_container.iter().find(|map| map.outside(id).is_some()));
        let (Some(inside), Some(part)) = (inside, part) else {
            return Err(
                "not all of it is in linux.uidMappings and gidMappings, from which @ counts"
                    .to_owned(),
            );
        };
        let host = part.outside(inside).unwrap_or_default();
        let count = (part.size - (inside - part.container)).min(size - done);
        lines.push(line(first.saturating_add(done), host, count)?);
        done += count;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(range: &str) -> Result<Vec<(u32, u32, u32)>, String> {
        let map = |container, host, size| IdMapping { container, host, size };
        // The example of crun(1), and a second range right behind it.
        let of_container = [map(0, 0, 1), map(1, 2, 1000), map(1001, 5000, 10)];
        let lines = lines(range, &of_container)?;
        Ok(lines.iter().map(|l| (l.container_id(), l.host_id(), l.size())).collect())
    }

    #[test]
    fn ranges_count_from_the_host_or_from_the_container() {
        assert_eq!(read("10-11-10"), Ok(vec![(10, 11, 10)]));
        assert_eq!(read("@1-3-10"), Ok(vec![(1, 4, 10)]));
        assert_eq!(read("@0-0-3"), Ok(vec![(0, 0, 1), (1, 2, 2)]));
        assert_eq!(read("@7-999-4"), Ok(vec![(7, 1000, 2), (9, 5000, 2)]));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for range in ["", "1", "1-2", "1-2-3-4", "a-b-c", "-1-2-3", "@1-1005-10", "@1-2000-1"] {
            assert!(read(range).is_err(), "{range}");
        }
    }
}
