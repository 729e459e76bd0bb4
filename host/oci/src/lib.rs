//! Components in OCI registries: [`Registry`] pulls and pushes them in the CNCF's layout for
//! WebAssembly, and reads the signatures that cosign stores beside them.
//!
//! This crate contains everything that depends on registries. It limits the size of every response,
//! and it returns only content that has the digest that the manifest names.

mod auth;
mod cache;
pub mod challenge;
mod client;
pub mod cosign;
mod credentials;
mod digest;
mod error;
pub mod manifest;
mod media_type;
mod push;
mod registry;
mod repository;

pub use ampoule_net::outbound::AddressCheck;

pub use self::{
    cosign::CosignSignature,
    error::OciError,
    push::ComponentDescription,
    registry::{PulledComponent, Registry},
};
