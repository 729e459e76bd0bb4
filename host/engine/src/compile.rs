//! From the bytes of a component to code that wasmtime can run.
//!
//! | module | task |
//! | --- | --- |
//! | [`component`] | the bytes of a component and its digest |
//! | [`wasmtime_config`] | the settings of wasmtime |
//! | [`component_compiler`] | compiles a component, or takes it from the cache |
//! | [`in_process`] | runs the compiler of wasmtime |
//! | [`compiler`] | the interface of a compiler in another process |
//! | [`cache`] | compiled components on disk |

pub(crate) mod cache;
pub(crate) mod compiler;
pub(crate) mod component;
pub(crate) mod component_compiler;
pub(crate) mod in_process;
pub(crate) mod wasmtime_config;
