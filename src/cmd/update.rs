//! `rt update ID`.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};

use super::not_running;
use crate::cgroup::update::cpu_now;
use crate::cgroup::{Cgroup, driver_of};
use crate::cli::args::Update;
use crate::diag::field::Field;
use crate::diag::findings::Findings;
use crate::error::{Error, Kind, Result};
use crate::model::cgroup::Change;
use crate::model::intel_rdt::Schema;
use crate::plan::resources::update::{merge, plan};
use crate::resctrl::Resctrl;
use crate::spec::bytes::Bytes;
use crate::spec::{self, RESOURCES};
use crate::state::{Container, Id, StateRoot, Status};
use crate::sys::signal::Blocked;

/// Changes limits of a container that is not stopped; all that is asked for, or nothing.
pub fn update(root: &StateRoot, args: &Update) -> Result<()> {
    let given = given(args)?;
    let id = Id::parse(&args.id)?;
    let container = Container::load_locked(root, &id)?;
    if let status @ (Status::Stopped | Status::Creating) = container.status()? {
        return Err(not_running(&id).detail(format!("it is {status}")));
    }
    // From the first change to the last, or back to none.
    let _blocked =
        Blocked::all_but_alarm().map_err(|errno| Error::new("block signals").errno(errno))?;
    let schemas = schemas(args)?;
    let rdt = match (container.rdt_record()?, schemas.as_slice()) {
        (_, []) => None,
        (Some(record), schemas) => Some((record, Resctrl::host().update(record, schemas)?)),
        (None, _) => {
            let text = "updating a non-existent Intel RDT configuration is not supported";
            return Err(Error::new(text).kind(Kind::Invalid).hint("create it with linux.intelRdt"));
        }
    };
    change_limits(&container, &given).inspect_err(|_| {
        if let Some((record, before)) = &rdt {
            Resctrl::host().take_back(record, before);
        }
    })
}

fn change_limits(container: &Container, given: &LinuxResources) -> Result<()> {
    let old = match container.dir.resources()? {
        Some(resources) => resources,
        None => {
            let spec = spec::decode_kept(&container.dir.config()?)?;
            let linux = spec.linux().as_ref();
            linux.and_then(|linux| linux.resources().clone()).unwrap_or_default()
        }
    };
    let (Some(cgroup), Some(record)) = (container.cgroup()?, &container.record.cgroup) else {
        if *given == LinuxResources::default() {
            return Ok(());
        }
        let text = format!("container {} has no cgroup of its own to limit", container.id());
        return Err(Error::new(text));
    };
    if let Some(high) = container.dir.high()? {
        cgroup.set_high(&high)?;
        container.dir.forget_high()?;
    }
    let now = cpu_now(&cgroup)?;
    let mut findings = Findings::default();
    let change = plan(&old, given, &now, &mut findings);
    for notice in findings.into_result_of(RESOURCES)? {
        tracing::warn!("{notice}");
    }
    if !cgroup.is_ours() && !change.is_empty() {
        let path = cgroup.path();
        tracing::warn!("cgroup /{path} was there before: the limits are for all that is in it");
    }
    let driver = driver_of(record);
    let updated = with_high_noted(container, &cgroup, &change, || driver.update(&cgroup, &change))
        .map_err(|error| error.document(RESOURCES))?;
    let saved = container.dir.save_resources(&merge(&old, given, &now));
    saved.inspect_err(|_| updated.take_back())
}

/// Less memory is reclaimed with memory.high low: should we be killed then, the next update finds
/// what it was.
fn with_high_noted<T>(
    container: &Container,
    cgroup: &Cgroup,
    change: &Change,
    apply: impl FnOnce() -> Result<T>,
) -> Result<T> {
    if !change.settings.iter().any(|setting| setting.file == "memory.max") {
        return apply();
    }
    if let Some(high) = cgroup.high()? {
        container.dir.save_high(&high)?;
    }
    let applied = apply();
    if let Err(error) = container.dir.forget_high() {
        tracing::warn!("{error}");
    }
    applied
}

/// What was asked for, by file or by options.
fn given(args: &Update) -> Result<LinuxResources> {
    if args.kernel_memory.is_some() || args.kernel_memory_tcp.is_some() {
        tracing::warn!("Kernel memory settings are ignored and will be removed");
    }
    let options = from_options(args);
    let Some(path) = &args.resources else {
        let schemas = args.l3_cache_schema.is_some() || args.mem_bw_schema.is_some();
        let kernel = args.kernel_memory.is_some() || args.kernel_memory_tcp.is_some();
        if options == LinuxResources::default() && !schemas && !kernel {
            tracing::warn!("nothing to change: no limit is given; see rt update --help");
        }
        return Ok(options);
    };
    if options != LinuxResources::default() {
        let text = "--resources cannot be combined with other limit options";
        return Err(Error::new(text).kind(Kind::Invalid));
    }
    spec::load_resources(path)
}

fn from_options(args: &Update) -> LinuxResources {
    let mut resources = LinuxResources::default();
    let bytes = |given: Option<Bytes>| given.map(|Bytes(bytes)| bytes);
    let mut memory = LinuxMemory::default();
    memory.set_limit(bytes(args.memory)).set_swap(bytes(args.memory_swap));
    memory.set_reservation(bytes(args.memory_reservation));
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(args.cpu_share).set_quota(args.cpu_quota).set_period(args.cpu_period);
    cpu.set_burst(args.cpu_burst).set_idle(args.cpu_idle);
    cpu.set_realtime_period(args.cpu_rt_period).set_realtime_runtime(args.cpu_rt_runtime);
    cpu.set_cpus(args.cpuset_cpus.clone()).set_mems(args.cpuset_mems.clone());
    let mut io = LinuxBlockIo::default();
    io.set_weight(args.blkio_weight);
    resources.set_memory((memory != LinuxMemory::default()).then_some(memory));
    resources.set_cpu((cpu != LinuxCpu::default()).then_some(cpu));
    resources.set_block_io((io != LinuxBlockIo::default()).then_some(io));
    resources.set_pids(args.pids_limit.map(|limit| {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        pids
    }));
    resources
}

fn schemas(args: &Update) -> Result<Vec<Schema>> {
    let mut schemas = Vec::new();
    for (flag, given, resource, off) in [
        ("--l3-cache-schema", &args.l3_cache_schema, "L3", "CAT: l3 cache schema"),
        ("--mem-bw-schema", &args.mem_bw_schema, "MB", "MBA: memory bandwidth schema"),
    ] {
        let Some(text) = given.clone().filter(|text| !text.is_empty()) else { continue };
        if !Resctrl::host().has(resource) {
            return Err(Error::new(format!("Intel RDT/{off} is not enabled"))
                .hint("where the processor has it: mount -t resctrl resctrl /sys/fs/resctrl"));
        }
        schemas.push(Schema { text, field: Field::of(flag) });
    }
    Ok(schemas)
}
