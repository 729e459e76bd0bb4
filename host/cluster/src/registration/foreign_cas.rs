//! CAs in the registration that this replica does not request: [`ForeignCas`].
//!
//! Replicas learn of a new CA one after the other, so each finds CAs in the registration that it
//! does not know yet, or no longer. Such a CA stays for a while: otherwise two replicas would
//! remove each other's CA.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use rustls_pki_types::CertificateDer;

use crate::ca_bundle::CaBundle;

/// Foreign CAs, with the time when each was first found.
#[derive(Debug, Default)]
pub(super) struct ForeignCas(HashMap<CertificateDer<'static>, Instant>);

// === impl ForeignCas ===

impl ForeignCas {
    /// Whether the registration contained no foreign CA.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the foreign CAs that stay: those first found less than `stay` ago.
    pub(super) fn tolerated(&mut self, found: &CaBundle, wanted: &CaBundle, now: Instant, stay: Duration) -> CaBundle {
        let foreign: Vec<_> = found.without(wanted).collect();
        self.0.retain(|known, _| foreign.contains(&known));
        let mut tolerated = CaBundle::default();
        for ca in foreign {
            let since = *self.0.entry(ca.clone()).or_insert(now);
            if now.duration_since(since) < stay {
                tolerated.add(ca.clone());
            }
        }
        tolerated
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::tests::ca;

    #[test]
    fn a_foreign_ca_stays_for_its_time_and_is_forgotten_once_removed() {
        let stay = Duration::from_secs(10);
        let (own, foreign) = (CaBundle::parse(&ca()), CaBundle::parse(&ca()));
        let mut both = own.clone();
        both.extend(foreign.clone());
        let (mut foreign_cas, start) = (ForeignCas::default(), Instant::now());
        let none = CaBundle::default();
        for (seconds, found, expected) in
            [(0, &both, &foreign), (9, &both, &foreign), (10, &both, &none), (11, &own, &none), (12, &both, &foreign)]
        {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(foreign_cas.tolerated(found, &own, now, stay), *expected, "{seconds}");
        }
        assert_eq!(foreign_cas.tolerated(&both, &both, start, stay), none, "a requested CA is not foreign");
    }
}
