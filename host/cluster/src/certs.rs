//! The webhook's own certificates: made ([`CertificatePair`]), judged ([`Condition`]), and kept in a Secret (`CertIssuer`).
//!
//! `CertKeeper` serves the one that is to be served, and follows it.
//! A CA signs one leaf and its key is dropped at once, so that nobody can sign a second one with it. Making and judging are pure:
//! the time is an argument.

mod condition;
mod folder;
mod issuer;
mod keeper;
mod pair;
mod self_signed;
mod source;

pub use self::{
    condition::{CheckedPair, Condition, StoredPair},
    pair::{CertificatePair, Subject},
    self_signed::self_signed,
};
pub use self::{
    folder::{CertFolder, write},
    issuer::{CertIssuer, Ensured},
    keeper::CertKeeper,
    source::{FolderSource, SecretSource},
};

/// The name of a CA bundle, in a Secret and in a folder, as cert-manager and Flyte name it.
pub const CA_FILE: &str = "ca.crt";
/// The name of the certificate and its chain, as a Secret of type `kubernetes.io/tls` names it.
pub const CERTIFICATE_FILE: &str = "tls.crt";
/// The name of the private key.
pub const KEY_FILE: &str = "tls.key";
