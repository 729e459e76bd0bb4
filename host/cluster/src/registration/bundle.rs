//! The certificates that the API server is to trust, as a set: [`CaBundle`], and the ones that nobody here asked for ([`Strangers`]).
//!
//! Replicas learn of a new CA one after the other, so each finds CAs in the registration that it does not know yet, or no more. Such
//! a stranger stays for a while: without that, two replicas would take each other's CA away.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use pem::{EncodeConfig, LineEnding, Pem};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

/// Certificates in their order, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaBundle(Vec<CertificateDer<'static>>);

/// Since when which certificate has been found that was not asked for.
#[derive(Debug, Default)]
pub(super) struct Strangers(HashMap<CertificateDer<'static>, Instant>);

// === impl CaBundle ===

impl CaBundle {
    /// Reads what there is of certificates in PEM form, and passes over everything else.
    pub fn parse(pem: &str) -> Self {
        let mut bundle = Self::default();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok) {
            bundle.add(certificate);
        }
        bundle
    }

    /// Adds those that are not in it.
    pub fn extend(&mut self, other: Self) {
        other.0.into_iter().for_each(|certificate| self.add(certificate));
    }

    /// Whether each of these is in it.
    pub(super) fn holds(&self, other: &Self) -> bool {
        other.0.iter().all(|certificate| self.0.contains(certificate))
    }

    /// The bundle in PEM form.
    pub fn to_pem(&self) -> String {
        self.0.iter().map(pem).collect()
    }

    /// Each certificate alone, in PEM form.
    pub fn each_pem(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(pem)
    }

    fn add(&mut self, certificate: CertificateDer<'static>) {
        if !self.0.contains(&certificate) {
            self.0.push(certificate);
        }
    }
}

// === impl Strangers ===

impl Strangers {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Of what was found at this moment, what is to stay although it is not wanted: all that was first found less than `stay` ago.
    pub(super) fn tolerated(&mut self, found: &CaBundle, wanted: &CaBundle, now: Instant, stay: Duration) -> CaBundle {
        let strangers: Vec<_> = found.0.iter().filter(|certificate| !wanted.0.contains(certificate)).collect();
        self.0.retain(|known, _| strangers.contains(&known));
        let mut tolerated = CaBundle::default();
        for stranger in strangers {
            let since = *self.0.entry(stranger.clone()).or_insert(now);
            if now.duration_since(since) < stay {
                tolerated.add(stranger.clone());
            }
        }
        tolerated
    }
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new("CERTIFICATE", certificate.as_ref()), config)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::certs::{CertificatePair, Subject};

    fn ca() -> String {
        let subject = Subject::service("hook", "flyte", Duration::from_secs(3600));
        CertificatePair::issue(subject, SystemTime::now()).unwrap().ca_pem
    }

    #[test]
    fn a_bundle_is_written_as_it_was_read_each_certificate_once() {
        let (one, two) = (ca(), ca());
        assert_eq!(CaBundle::parse(&one).to_pem(), one);
        let text = format!("# the first\n{one}\nnoise\n{two}{one}");
        let bundle = CaBundle::parse(&text);
        assert_eq!(bundle.to_pem(), format!("{one}{two}"));
        assert!(bundle.holds(&CaBundle::parse(&two)) && !CaBundle::parse(&two).holds(&bundle));
        assert_eq!(CaBundle::parse("hello"), CaBundle::default());
    }

    #[test]
    fn a_stranger_stays_for_its_time_and_is_forgotten_when_it_goes() {
        let stay = Duration::from_secs(10);
        let (ours, theirs) = (CaBundle::parse(&ca()), CaBundle::parse(&ca()));
        let mut both = ours.clone();
        both.extend(theirs.clone());
        let (mut strangers, start) = (Strangers::default(), Instant::now());
        let none = CaBundle::default();
        for (seconds, found, expected) in
            [(0, &both, &theirs), (9, &both, &theirs), (10, &both, &none), (11, &ours, &none), (12, &both, &theirs)]
        {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(strangers.tolerated(found, &ours, now, stay), *expected, "{seconds}");
        }
        assert_eq!(strangers.tolerated(&both, &both, start, stay), none, "what is wanted is no stranger");
    }
}
