//! `ampoule compile`: compiles a component from stdin to stdout. Internal: `serve` starts it
//! ([`ampoule_server::compiler`]).
//!
//! The process first limits its own resources, and gives up the network and all files
//! ([`confinement`]): the component comes from a stranger. Errors are written to stderr; the exit
//! code is [`REFUSED`] if the component is invalid.

mod confinement;

use std::{
    io::{Read as _, Write as _, stdin, stdout},
    process::ExitCode,
};

use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};

use super::output::eprint_line;
use crate::args::CompileArgs;
use ampoule_server::compiler::REFUSED;

/// Niceness relative to the serving process.
const NICE: i32 = 10;

/// CPU seconds until SIGXCPU and until SIGKILL, for the case that the serving process no longer
/// ends this one.
const CPU_SECONDS: [u64; 2] = [1200, 1210];

pub(crate) fn compile(args: &CompileArgs) -> anyhow::Result<ExitCode> {
    // A failure only costs the serving process CPU time.
    let _ = nice(NICE);
    // The data limit counts writable memory only: not the program's code, and not guard pages
    // between stacks.
    let limits = [(Resource::Data, [args.memory_mib << 20; 2]), (Resource::Core, [0; 2]), (Resource::Cpu, CPU_SECONDS)];
    for (resource, limits) in limits {
        // An existing lower limit stays in effect.
        let allowed = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let [current, maximum] = limits.map(|limit| Some(limit.min(allowed)));
        setrlimit(resource, Rlimit { current, maximum })?;
    }
    confinement::confine()?;
    let mut component = Vec::new();
    stdin().lock().read_to_end(&mut component)?;
    match ampoule_engine::precompile(&component, args.allocation.into()) {
        Ok(compiled) => {
            stdout().lock().write_all(&compiled)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(reason) => {
            eprint_line(&reason);
            Ok(ExitCode::from(REFUSED))
        }
    }
}
