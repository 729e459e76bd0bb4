//! Version 0.2 of the contract.
//!
//! | module | task |
//! | --- | --- |
//! | [`bindings`] | generated from `wit/` |
//! | [`exports`] | what a plugin exports; two of the interfaces are optional |
//! | [`admission`] | the pod, and the answer to a request |
//! | [`builders`] | volumes and init containers |
//! | [`fetching`] | the value of a promise |
//! | [`host`] | the other interfaces that a plugin imports |

mod admission;
pub(crate) mod bindings;
mod builders;
pub(crate) mod exports;
mod fetching;
pub(crate) mod host;
