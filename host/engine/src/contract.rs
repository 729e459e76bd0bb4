//! The contract with plugins. Each version has its own folder; the rest of the engine uses the
//! types of the core and of this module.

pub(crate) mod info;
pub(crate) mod v0_2;
