//! [`Compiler`]: compiles foreign components in another process, which calls
//! [`precompile`](crate::precompile).
//!
//! A JavaScript or Python component takes 330 MiB to compile, many times the memory that serving
//! takes, and a small malicious one can take as much. The process that embeds the engine starts the
//! other process. The engine trusts the result, because it is code.

use std::fs::File;

use async_trait::async_trait;

use super::wasmtime_config::Allocation;

/// Compiles components outside this process.
///
/// # Safety
///
/// The engine runs the result outside any sandbox. The result must be the output of
/// [`precompile`](crate::precompile) of this same program for the given component and allocation,
/// in a file that no process can change any more. Its read position does not matter.
#[async_trait]
#[allow(unsafe_code, reason = "an implementation vouches for code, and has to declare it")]
pub unsafe trait Compiler: Send + Sync {
    /// Returns the compiled component. Dropping the future aborts the compilation.
    async fn compile(&self, component: &[u8], allocation: Allocation) -> Result<File, CompilerError>;
}

/// Why a component was not compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompilerError {
    /// The component cannot be compiled: the message of [`precompile`](crate::precompile).
    #[error("{0}")]
    Refused(String),
    /// The compiler failed, perhaps not because of the component: the missing resource and the
    /// remedy.
    #[error("{0}")]
    Failed(String),
}
