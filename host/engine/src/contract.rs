//! The contract between Ampoule and its plugins: one folder per version.
//!
//! A folder holds the generated bindings of its version, the conversions between them and the types
//! of the core, and the imports that the host implements. WIT types stay within the folder and
//! [`crate::plugin::instance`], which calls the exports.

pub(crate) mod info;
pub(crate) mod v0_1;
