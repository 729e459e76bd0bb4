//! Components that are not built in are compiled by another process: this program again, as `ampoule compile`, at lower priority and within a limit
//! on its memory.
//!
//! What a component makes the compiler take is that process' own, and ends with it: who serves goes on serving. It inherits no
//! variable, reads the component from a pipe, and writes what it compiled into memory that is sealed once it has ended.

use std::{
    fs::File,
    io,
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
};

use ampoule_engine::{Allocation, Compiler, CompilerError};
use async_trait::async_trait;
use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    process::Signal,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};

/// This very program, whatever became of its file.
const PROGRAM: &str = "/proc/self/exe";

/// The exit code of a process that the component displeases; any other is trouble of its own.
pub const REFUSED: u8 = 3;

/// Bytes of what the process says that are read: the engine cuts a message shorter.
const MAX_WORDS: u64 = 8 << 10;

/// What it says where it gets no more memory: the allocator, wasmtime, and the system for a mapping or a thread.
const NO_MEMORY: [&str; 4] = ["memory allocation of ", "out of memory", "(os error 12)", "(os error 11)"];

/// Compiles in a process of its own for each component.
pub struct ChildCompiler {
    /// That it may have, in MiB.
    memory_mib: u64,
}

// SAFETY: what is given back was written by `ampoule_engine::precompile`, in a process of the very program that this one runs, for
// the component and the allocation that it was asked for; a process that did not end well gives nothing. It stood at no place where
// another program could write to it, and is sealed before it is given away.
#[allow(unsafe_code, reason = "the engine runs what the process wrote: it has to be said here that nobody else did")]
#[async_trait]
unsafe impl Compiler for ChildCompiler {
    async fn compile(&self, component: &[u8], allocation: Allocation) -> Result<File, CompilerError> {
        let failed = |what: &str, error: io::Error| CompilerError::Failed(format!("{what}: {error}"));
        let compiled = memory().map_err(|error| failed("there is no memory for what is compiled", error))?;
        let said = self.run(component, allocation, &compiled).await;
        let (status, said) = said.map_err(|error| {
            failed(&format!("{PROGRAM}, which compiles components that are not built in, cannot be run"), error)
        })?;
        if !status.success() {
            return Err(self.reason(status, &said));
        }
        seal(&compiled).map_err(|error| failed("what was compiled cannot be sealed", error))?;
        Ok(compiled)
    }
}

// === impl ChildCompiler ===

impl ChildCompiler {
    /// None where this program is the test runner, which compiles nothing when it is run again.
    pub fn new(memory_mib: u64) -> Option<Self> {
        (!cfg!(test)).then_some(Self { memory_mib })
    }

    /// Runs the process to its end: how it ended, and what it said on standard error.
    async fn run(&self, component: &[u8], allocation: Allocation, into: &File) -> io::Result<(ExitStatus, String)> {
        let mut command = Command::new(PROGRAM);
        command.args(["compile", "--allocation", allocation.as_str(), "--memory-mib", &self.memory_mib.to_string()]);
        // mimalloc would have a gibibyte at once, before there is a limit on it.
        command.env_clear().env("MIMALLOC_ARENA_RESERVE", "0").current_dir("/");
        command.stdin(Stdio::piped()).stdout(into.try_clone()?).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let feed = async {
            if let Some(mut stdin) = stdin {
                // If it takes no more, it has something to say.
                let _ = stdin.write_all(component).await;
            }
        };
        let listen = async {
            let mut words = Vec::new();
            if let Some(stderr) = stderr {
                let _ = stderr.take(MAX_WORDS).read_to_end(&mut words).await;
            }
            String::from_utf8_lossy(&words).trim().to_owned()
        };
        let (status, (), words) = tokio::join!(child.wait(), feed, listen);
        Ok((status?, words))
    }

    /// Why a process gave nothing.
    fn reason(&self, status: ExitStatus, said: &str) -> CompilerError {
        let memory = self.memory_mib;
        if NO_MEMORY.iter().any(|words| said.contains(words)) {
            return CompilerError::Failed(format!(
                "it takes more than {memory} MiB of memory (engine.compileMemoryMiB)"
            ));
        }
        match (status.code(), status.signal()) {
            (Some(code), _) if code == i32::from(REFUSED) => CompilerError::Refused(said.to_owned()),
            (_, Some(signal)) if signal == Signal::XCPU.as_raw() => {
                CompilerError::Failed("it takes the processors for too long".to_owned())
            }
            (_, Some(signal)) if signal == Signal::KILL.as_raw() => CompilerError::Failed(format!(
                "the process that compiles it was killed, as it is where the system has no memory left: the container's limit has \
                 to hold {memory} MiB for it (engine.compileMemoryMiB), and what the webhook takes itself"
            )),
            _ => CompilerError::Failed(format!("the process that compiles it ended with {status}: {said}")),
        }
    }
}

/// A file that has no name, and so nobody else.
fn memory() -> io::Result<File> {
    Ok(memfd_create("ampoule-compiled", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?.into())
}

/// Lets nobody change it any more.
fn seal(file: &File) -> io::Result<()> {
    Ok(fcntl_add_seals(file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    /// As `wait` gives them: a code in the second byte, a signal in the first.
    fn reason(status: i32, said: &str) -> CompilerError {
        ChildCompiler { memory_mib: 512 }.reason(ExitStatus::from_raw(status), said)
    }

    #[test]
    fn says_what_to_change_where_memory_is_short_and_what_the_compiler_says_otherwise() {
        let failed = |text: &str| CompilerError::Failed(text.to_owned());
        let short = failed("it takes more than 512 MiB of memory (engine.compileMemoryMiB)");
        assert_eq!(reason(6, "memory allocation of 65536 bytes failed"), short);
        assert_eq!(reason(1 << 8, "Cannot allocate memory (os error 12)"), short);
        assert_eq!(reason(3 << 8, "unexpected end"), CompilerError::Refused("unexpected end".to_owned()));
        let trouble = "the process that compiles it ended with exit status: 1: no room";
        assert_eq!(reason(1 << 8, "no room"), failed(trouble));
        let killed = "the process that compiles it was killed, as it is where the system has no memory left: the container's limit has \
                      to hold 512 MiB for it (engine.compileMemoryMiB), and what the webhook takes itself";
        assert_eq!(reason(9, ""), failed(killed));
        assert_eq!(reason(24, ""), failed("it takes the processors for too long"));
        assert_eq!(
            reason(101 << 8, "thread 'main' panicked"),
            failed("the process that compiles it ended with exit status: 101: thread 'main' panicked")
        );
    }

    #[test]
    fn what_is_sealed_is_changed_no_more() {
        let mut file = memory().unwrap();
        file.write_all(b"code").unwrap();
        seal(&file).unwrap();
        file.rewind().unwrap();
        assert_eq!(file.write_all(b"evil").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(file.set_len(0).is_err());
    }
}
