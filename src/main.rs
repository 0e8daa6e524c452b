//! `rt`: the protection of its own binary, what was typed, to what is done, to an exit code.

use std::process::ExitCode;

use rt::sys::alloc::{MEMORY, OneThread};

/// Of the 558 system calls of a `run`, 87 were musl's allocator's (docs/performance.md).
#[global_allocator]
static ALLOCATOR: &OneThread = &MEMORY;

fn main() -> ExitCode {
    if let Err(error) = rt::runtime::protect::refuse_setuid() {
        return rt::cmd::refuse_all(&error);
    }
    rt::runtime::protect::early();
    rt::sys::signal::own();
    match rt::cli::parse(std::env::args_os()) {
        Ok(cli) => rt::cmd::run(cli),
        Err(refused) => rt::cmd::refuse(&refused),
    }
}
