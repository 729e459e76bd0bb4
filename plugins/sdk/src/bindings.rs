//! The bindings that `wit-bindgen` generates from `wit/`: the contract's resources, its imports,
//! and the macro behind `export!`.
//!
//! They are checked in, so that the build of a plugin does not compile the generator. A test
//! compares them with the contract; `cargo xtask bless` writes them.
//!
//! The code is generated, so the workspace's lints do not apply. Plugins use the types of this
//! crate instead, which can grow without a change of the contract.
#![allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated")]

include!("bindings/generated.rs");
