//! From the webhook's HTTP request to its answer.
//!
//! A request passes [`webhook`] (body, limits, timeout), `ampoule_review` (parsing), [`pipeline`]
//! (decision and record), and `ampoule_review` again (the answer's bytes). [`global_secrets`] is
//! the injector that the host itself implements.

mod audit;
pub mod clients;
mod context;
mod decision;
mod excerpt;
mod findings;
pub mod global_secrets;
pub mod memory;
pub mod pipeline;
pub mod webhook;

pub use self::{context::RequestContext, decision::Decision};
