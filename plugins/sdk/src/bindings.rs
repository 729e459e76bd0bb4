//! The bindings that `wit-bindgen` generates from `wit/`: the contract's resources, its imports,
//! and the macro behind `export!`.
//!
//! They are checked in, so that the build of a plugin does not compile the generator. A test
//! compares them with the contract; `cargo xtask bless` writes them.
//!
//! The code is generated, so the workspace's lints do not apply. Plugins use the types of this
//! crate instead, which can grow without a change of the contract.
#![allow(missing_docs, unsafe_code, unreachable_pub, reason = "generated")]
#![allow(
    clippy::all,
    clippy::needless_pass_by_value,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "generated"
)]

include!("bindings/generated.rs");
