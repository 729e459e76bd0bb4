//! File names of a certificate pair, in a folder and as keys of a Secret.
//!
//! They are those of a Secret of type `kubernetes.io/tls`, as cert-manager and Flyte use them.

/// The CA bundle.
pub(crate) const CA_FILE: &str = "ca.crt";
/// The certificate and its chain.
pub(crate) const CERTIFICATE_FILE: &str = "tls.crt";
/// The private key.
pub(crate) const KEY_FILE: &str = "tls.key";
