//! The webhook's serving certificates: issued, checked, stored and replaced.
//!
//! [`CertificatePair`] issues a pair, [`StoredPair`] checks one, [`CertIssuer`] keeps one in a
//! Secret and [`CertFolder`] reads one from a folder. [`CertKeeper`] serves the current pair and
//! replaces it. A CA signs one leaf, and its key is dropped at once, so it can never sign a second
//! one.

mod condition;
mod folder;
mod issuer;
mod keeper;
mod leaf;
mod names;
mod pair;
mod restorer;
mod self_signed;
mod source;
#[cfg(test)]
pub(crate) mod tests;

pub use self::{
    condition::{CheckedPair, Condition, StoredPair},
    folder::{CertFolder, CertFolderError, write},
    issuer::{CertIssuer, Ensured, IssueError, IssueOutcome},
    keeper::CertKeeper,
    pair::{CertificatePair, CertificateSubject},
    restorer::SecretRestorer,
    self_signed::self_signed,
    source::{FolderSource, SecretSource},
};
