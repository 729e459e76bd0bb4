//! Version 0.1 of the contract.
//!
//! | module | task |
//! | --- | --- |
//! | [`bindings`] | generated from `wit/` |
//! | [`conversion`] | WIT types to core types and back |
//! | [`host`] | the interfaces that a plugin imports |

pub(crate) mod bindings;
pub(crate) mod conversion;
pub(crate) mod host;
