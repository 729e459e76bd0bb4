//! From an `AdmissionReview` to its answer.
//!
//! [`webhook`] reads the request, `ampoule_review` parses it, [`pipeline`] decides, [`audit`] records. [`global_secrets`] is the
//! injector that the host itself implements.

mod audit;
mod excerpt;
pub mod global_secrets;
pub mod pipeline;
pub mod webhook;
