//! The Kubernetes API client of this process: [`Cluster`], and the users of it.
//!
//! A process that neither registers itself nor manages certificates creates no client, and sends
//! the API server no request.

mod ca_bundle;
pub mod caller;
pub mod certs;
mod client;
pub mod delivery;
pub mod events;
pub mod follow;
pub mod registration;
pub mod request_header;
mod secrets;
pub mod version;

pub use self::{
    client::{Cluster, ClusterError},
    secrets::ClusterReader,
};
