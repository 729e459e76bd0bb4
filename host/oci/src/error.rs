//! What can go wrong with a registry: [`OciError`].
//!
//! A key of the configuration stands beside the flag of `ampoule plugin push` that says the same.

use std::{path::PathBuf, time::Duration};

use super::{COMPONENT, DEADLINE};

/// Why a registry did not give or take a component.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OciError {
    #[error("the file {} (registries.caFile, --ca-file) {reason}", path.display())]
    CaFile { path: PathBuf, reason: String },
    #[error("the credentials in {} (registries.credentialsFile, --credentials-file) {reason}", path.display())]
    Credentials { path: PathBuf, reason: String },
    #[error("{url} is plain HTTP, by which only the hosts in registries.insecure (--insecure) are asked")]
    PlainHttp { url: String },
    #[error("{host} cannot be asked: {reason}")]
    Unreachable { host: String, reason: String },
    #[error("{host} took longer than {} s", DEADLINE.as_secs())]
    Deadline { host: String },
    #[error("{host} sends away more than {most} times")]
    Redirects { host: String, most: usize },
    #[error(
        "{host} lets nobody {actions} {repository} without credentials; {hint} (registries.credentialsFile, --credentials-file)"
    )]
    NoLogin { host: String, actions: &'static str, repository: String, hint: String },
    #[error(
        "{host} does not let {who} {actions} {repository}: {said} (registries.credentialsFile, --credentials-file)"
    )]
    Refused { host: String, who: &'static str, actions: &'static str, repository: String, said: String },
    #[error("{host} answers {what} with {said}")]
    Answer { host: String, what: String, said: String },
    #[error("{host} answers {what} with {said}, and wants to be left alone for {} s", wait.as_secs())]
    Busy { host: String, what: String, said: String, wait: Duration },
    #[error("{host} answers {what} with more than {limit} bytes")]
    AnswerSize { host: String, what: String, limit: usize },
    #[error("there is no {reference}")]
    Missing { reference: String },
    #[error("the manifest {0}")]
    Manifest(String),
    #[error("the manifest has {found}, and one layer of {COMPONENT} is needed")]
    Layers { found: String },
    #[error("it has more than {limit} bytes (injectors[].limits.componentMiB)")]
    ComponentSize { limit: usize },
    #[error("the registry gives another {what} than was asked for: its digest is {found}, not {expected}")]
    Digest { what: &'static str, expected: String, found: String },
}

// === impl OciError ===

impl OciError {
    pub(super) fn digest(what: &'static str, expected: &str, found: String) -> Self {
        Self::Digest { what, expected: expected.to_owned(), found }
    }
}
