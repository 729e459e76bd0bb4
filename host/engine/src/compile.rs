//! From the bytes of a component to code that wasmtime can run.
//!
//! | module | task |
//! | --- | --- |
//! | [`component`] | the bytes of a component and its digest |
//! | [`code`] | where the code of a component is from |
//! | [`wasmtime_config`] | the settings of wasmtime |
//! | [`portable`] | code that another process compiled for every platform |
//! | `component_compiler` | compiles a component, or takes it from the cache |
//! | `in_process` | runs the compiler of wasmtime |
//! | [`compiler`] | the interface of a compiler in another process |
//! | `cache` | compiled components on disk |

#[cfg(feature = "compiler")]
pub(crate) mod cache;
pub(crate) mod code;
pub(crate) mod compiler;
pub(crate) mod component;
#[cfg(feature = "compiler")]
pub(crate) mod component_compiler;
#[cfg(feature = "compiler")]
pub(crate) mod in_process;
pub(crate) mod portable;
pub(crate) mod wasmtime_config;
