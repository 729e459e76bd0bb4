//! Who compiles components that are not this program's own: [`Compiler`], which the process gives the engine, and [`precompile`],
//! which it has to call elsewhere.
//!
//! A JavaScript or Python component takes 330 MiB to compile, many times what serving takes, and a small one can be made to take
//! as much. Which processes there are is not the engine's business; what comes back from one is, as it is code.

use std::fs::File;

use async_trait::async_trait;

use crate::{
    compile::{explain, in_the_background},
    config,
    engine::Allocation,
};

/// Compiles components where that takes this process no memory.
///
/// # Safety
///
/// The engine runs what comes back, outside any sandbox. It must be what [`precompile`] of this very program gave for that component
/// and allocation, in a file that nobody can change any more, at whatever place it is read.
#[async_trait]
#[allow(unsafe_code, reason = "whoever implements it vouches for code, and should have to say so")]
pub unsafe trait Compiler: Send + Sync {
    /// The compiled component. What is dropped before it is done is broken off.
    async fn compile(&self, component: &[u8], allocation: Allocation) -> Result<File, CompilerError>;
}

/// Why a component was not compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompilerError {
    /// The component cannot be: what [`precompile`] said.
    #[error("{0}")]
    Refused(String),
    /// It may be one that can be compiled: what was lacking, and what to change.
    #[error("{0}")]
    Failed(String),
}

/// Compiles a component for an engine of this allocation, on threads of its own. It neither reserves a pool nor runs anything.
///
/// # Errors
///
/// What is wrong with the component, as a load says it: what takes long to find out is found out where the component is compiled.
pub fn precompile(component: &[u8], allocation: Allocation) -> Result<Vec<u8>, String> {
    let words = |error: wasmtime::Error| explain(component, &format!("{error:#}")).to_string();
    let engine = config::compiler(allocation).map_err(words)?;
    in_the_background(|| engine.precompile_component(component)).map_err(words)
}
