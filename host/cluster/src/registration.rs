//! The webhook's registration at the API server: a `MutatingWebhookConfiguration`.
//!
//! [`RegistrationKeeper`] maintains it, [`Trust`] requests its CAs, and [`remove`] removes it.
//!
//! With `registration.create`, the process applies the whole object. It sets every field that
//! matters, so no value of another program stays. Without it, another program creates the object,
//! and the process changes only the `caBundle` of its webhooks. A `caBundle` that this program does
//! not manage is left out, so that its manager, such as cert-manager, keeps it.

mod api_service;
mod document;
mod drift;
mod error;
mod foreign_cas;
mod keeper;
mod object;
mod trust;
mod uninstall;

pub use self::{
    api_service::remove_api_service,
    document::{MatchCondition, REQUESTS_SECRETS, ReviewRoute, document, match_conditions},
    error::RegistrationError,
    keeper::RegistrationKeeper,
    trust::{Trust, TrustTiming},
    uninstall::remove,
};
