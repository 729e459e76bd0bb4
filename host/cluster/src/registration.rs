//! The webhook's registration at the API server: a `MutatingWebhookConfiguration`, by server-side
//! apply.
//!
//! [`RegistrationKeeper`] applies and maintains it, [`Trust`] requests its CAs, and [`remove`]
//! removes it. The object sets every field that matters, so no value of another program stays. A
//! `caBundle` that this program does not manage is left out, so that its manager, such as
//! cert-manager, keeps it.

mod api_service;
mod document;
mod drift;
mod error;
mod foreign_cas;
mod keeper;
mod trust;
mod uninstall;

pub use self::{
    api_service::remove_api_service,
    document::ReviewRoute,
    error::RegistrationError,
    keeper::RegistrationKeeper,
    trust::{Trust, TrustTiming},
    uninstall::remove,
};
