//! What a component is, read from its bytes before anything is compiled or run.
//!
//! [`check_format`] rejects other files, [`Surface`] reads the names of imports and exports and
//! checks them against the contract and the grants, and [`find_disabled`] names the WebAssembly
//! proposals that the engine does not support. The crate does not depend on wasmtime, so that
//! fuzz targets and tools can use it.

mod error;
mod format;
mod imports;
mod proposals;

pub use self::{
    error::{LoadErrorKind, RunError},
    format::check as check_format,
    imports::{CONTRACT, CONTRACT_VERSION, CUT_SHORT, Surface},
    proposals::{DISABLED, find_disabled},
};
