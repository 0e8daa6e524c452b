//! `rt`: the protection of its own binary, what was typed, to what is done, to an exit code.

use std::process::ExitCode;

use rt::sys::alloc::OneThread;

/// musl's own allocator asks the kernel for memory more than a hundred times in one `run`
/// (docs/performance.md).
#[global_allocator]
static ALLOCATOR: OneThread = OneThread::new();

fn main() -> ExitCode {
    rt::parent::protect::early();
    match rt::cli::parse(std::env::args_os()) {
        Ok(cli) => rt::cmd::run(cli),
        Err(refused) => rt::cmd::refuse(&refused),
    }
}
