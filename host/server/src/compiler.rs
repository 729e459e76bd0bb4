//! The compilation of components in a child process: this program with the command `compile`, at
//! lower priority and with a memory limit. Built-in components are compiled in the serving process.
//!
//! A component that makes the compiler use too much memory or CPU time affects only the child
//! process. The child inherits no environment variable, reads the component from a pipe, and writes
//! the compiled code to anonymous memory, which is sealed after the child has ended.

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
    process::{ChildStderr, ChildStdin, Command},
};

/// This program, even if its file was replaced.
const PROGRAM: &str = "/proc/self/exe";

/// The exit code for an invalid component. Any other code except 0 is a failure of the process
/// itself.
pub const REFUSED: u8 = 3;

/// Limit on the bytes read from the child's stderr. The engine truncates messages further.
const MAX_STDERR: u64 = 8 << 10;

/// The messages of a child without memory: from the allocator, from wasmtime, and from the system
/// for a mapping or a thread.
const NO_MEMORY: [&str; 4] = ["memory allocation of ", "out of memory", "(os error 12)", "(os error 11)"];

/// Compiles each component in a child process.
#[derive(Debug)]
pub struct ChildCompiler {
    memory_limit_mib: u64,
}

// SAFETY: the returned file was written by `ampoule_engine::precompile`, in a process of this very
// program, for the given component and allocation. If the process fails, nothing is returned. No
// other program can write to the file because it has no name, and it is sealed before it is
// returned.
#[allow(unsafe_code, reason = "the engine runs the returned code, so this module must vouch for its origin")]
#[async_trait]
unsafe impl Compiler for ChildCompiler {
    async fn compile(&self, component: &[u8], allocation: Allocation) -> Result<File, CompilerError> {
        let compiled = anonymous_file().map_err(failed("cannot create memory for the compiled code"))?;
        let ended = self.run(component, allocation, &compiled).await;
        let (status, stderr) = ended.map_err(failed(&format!("cannot run the compiler process {PROGRAM}")))?;
        if !status.success() {
            return Err(self.error(status, &stderr));
        }
        seal(&compiled).map_err(failed("cannot seal the compiled code"))?;
        Ok(compiled)
    }
}

// === impl ChildCompiler ===

impl ChildCompiler {
    /// Creates a compiler whose child processes have this memory limit.
    ///
    /// The program must support the command `compile`: a unit test's program does not.
    pub fn new(memory_limit_mib: u64) -> Self {
        Self { memory_limit_mib }
    }

    /// Runs a child process to its end. Returns its exit status and its stderr.
    async fn run(&self, component: &[u8], allocation: Allocation, into: &File) -> io::Result<(ExitStatus, String)> {
        let mut command = Command::new(PROGRAM);
        let memory_mib = self.memory_limit_mib.to_string();
        command.args(["compile", "--allocation", allocation.as_str(), "--memory-mib", &memory_mib]);
        // By default, mimalloc reserves a gibibyte at the start, before the limit is set.
        command.env_clear().env("MIMALLOC_ARENA_RESERVE", "0").current_dir("/");
        command.stdin(Stdio::piped()).stdout(into.try_clone()?).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let (status, (), stderr) = tokio::join!(child.wait(), feed(stdin, component), collect(stderr));
        Ok((status?, stderr))
    }

    /// Explains the failure of a child process.
    fn error(&self, status: ExitStatus, stderr: &str) -> CompilerError {
        let limit = self.memory_limit_mib;
        if NO_MEMORY.iter().any(|message| stderr.contains(message)) {
            return CompilerError::Failed(format!(
                "the compiler needs more than {limit} MiB of memory (engine.compileMemoryMiB)"
            ));
        }
        match (status.code(), status.signal()) {
            (Some(code), _) if code == i32::from(REFUSED) => CompilerError::Refused(stderr.to_owned()),
            (_, Some(signal)) if signal == Signal::XCPU.as_raw() => {
                CompilerError::Failed("the compiler exceeded its CPU time limit".to_owned())
            }
            (_, Some(signal)) if signal == Signal::KILL.as_raw() => CompilerError::Failed(format!(
                "the compiler process was killed, probably because memory is exhausted: the container's memory limit \
                 must allow {limit} MiB for the compiler (engine.compileMemoryMiB) in addition to the webhook's own memory"
            )),
            _ => CompilerError::Failed(format!("the compiler process ended with {status}: {stderr}")),
        }
    }
}

/// Writes the component to the child's stdin. A failed write is ignored: the child then explains
/// itself on stderr.
async fn feed(stdin: Option<ChildStdin>, component: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(component).await;
    }
}

/// Reads the child's stderr.
async fn collect(stderr: Option<ChildStderr>) -> String {
    let mut bytes = Vec::new();
    if let Some(stderr) = stderr {
        let _ = stderr.take(MAX_STDERR).read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

fn failed(action: &str) -> impl Fn(io::Error) -> CompilerError {
    move |error| CompilerError::Failed(format!("{action}: {error}"))
}

/// Creates a file without a name, which no other program can open.
fn anonymous_file() -> io::Result<File> {
    Ok(memfd_create("ampoule-compiled", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?.into())
}

/// Makes a file read-only for everyone.
fn seal(file: &File) -> io::Result<()> {
    Ok(fcntl_add_seals(file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    /// `status` is the status of `wait`: an exit code in the second byte, or a signal in the first.
    fn error(status: i32, stderr: &str) -> CompilerError {
        ChildCompiler::new(512).error(ExitStatus::from_raw(status), stderr)
    }

    #[test]
    fn explains_each_failure_of_the_compiler_process() {
        let failed = |text: &str| CompilerError::Failed(text.to_owned());
        let short = failed("the compiler needs more than 512 MiB of memory (engine.compileMemoryMiB)");
        assert_eq!(error(6, "memory allocation of 65536 bytes failed"), short);
        assert_eq!(error(1 << 8, "Cannot allocate memory (os error 12)"), short);
        assert_eq!(error(3 << 8, "unexpected end"), CompilerError::Refused("unexpected end".to_owned()));
        let trouble = "the compiler process ended with exit status: 1: no room";
        assert_eq!(error(1 << 8, "no room"), failed(trouble));
        let killed = "the compiler process was killed, probably because memory is exhausted: the container's memory limit must \
                      allow 512 MiB for the compiler (engine.compileMemoryMiB) in addition to the webhook's own memory";
        assert_eq!(error(9, ""), failed(killed));
        assert_eq!(error(24, ""), failed("the compiler exceeded its CPU time limit"));
        assert_eq!(
            error(101 << 8, "thread 'main' panicked"),
            failed("the compiler process ended with exit status: 101: thread 'main' panicked")
        );
    }

    #[test]
    fn a_sealed_file_cannot_be_changed() {
        let mut file = anonymous_file().unwrap();
        file.write_all(b"code").unwrap();
        seal(&file).unwrap();
        file.rewind().unwrap();
        assert_eq!(file.write_all(b"evil").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(file.set_len(0).is_err());
    }
}
