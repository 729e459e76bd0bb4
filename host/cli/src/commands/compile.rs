//! `ampoule compile`, which nobody types: compiles a component from standard input to standard output, for the process that serves
//! ([`ampoule_server::compiler`]).
//!
//! Its limits are the first thing that it sets itself. What is wrong goes to standard error, and the exit code is [`REFUSED`] if it is
//! the component.

use std::{
    io::{Read as _, Write as _, stdin, stdout},
    process::ExitCode,
};

use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};

use super::complain;
use crate::args::CompileArgs;
use ampoule_server::compiler::REFUSED;

/// How much kinder than the process that serves.
const NICE: i32 = 10;

/// Seconds of processors, should nobody be left to end it: then it is told, and soon after that killed.
const LONGEST: [u64; 2] = [1200, 1210];

pub(crate) fn compile(args: &CompileArgs) -> anyhow::Result<ExitCode> {
    let CompileArgs { allocation, memory_mib } = *args;
    // Where that is refused, it merely is not kind.
    let _ = nice(NICE);
    // What it may write to: its code and the gaps between its stacks are no memory that it takes.
    let limits = [(Resource::Data, [memory_mib << 20; 2]), (Resource::Core, [0; 2]), (Resource::Cpu, LONGEST)];
    for (resource, limits) in limits {
        // Where less is allowed already, that is it.
        let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let [current, maximum] = limits.map(|limit| Some(limit.min(most)));
        setrlimit(resource, Rlimit { current, maximum })?;
    }
    let mut component = Vec::new();
    stdin().lock().read_to_end(&mut component)?;
    match ampoule_engine::precompile(&component, allocation.into()) {
        Ok(compiled) => {
            stdout().lock().write_all(&compiled)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(reason) => {
            complain(&reason);
            Ok(ExitCode::from(REFUSED))
        }
    }
}
