//! Forged reviews of a client without a certificate, in the mode `open`.
//!
//! `tests/e2e/clients.rs` has the modes in which such a client gets no answer.

use ampoule_core::MountRequirement::{Any, EnvVar};
use ampoule_tests::{Ampoule, Review, annotation, asking};
use anyhow::{Result, ensure};

use super::support::{ensure_served, ensure_survived};
use crate::support::{Guests, K8S, config};

/// The value that a plugin fetched.
const CANARY: &str = "canary-of-a-fetched-value";

/// Number 7: a forged review could read every value that a plugin fetches.
#[tokio::test]
async fn a_forged_review_gets_references_and_no_value() -> Result<()> {
    let guests = Guests::write(&["secret_value"])?;
    let plugin = guests.injector("secret_value", &format!("{{ value: {CANARY} }}"), "{ deadlineMillis: 5000 }");
    let open = config("flyte-v1", &[K8S, &plugin].concat());
    let open = open.replace("clients: { acceptValuesToAnyone: true }", "clients: { mode: open }");
    ensure!(open.contains("mode: open"), "{open}");
    let ampoule = Ampoule::start_with(&open, &[]).await?;
    for namespace in ["default", "kube-system", "another-team"] {
        // Only the plugin with the value serves a request without a key.
        let value = Review::of(&asking("forged", [annotation("group", "", Any)]), namespace);
        let response = ampoule.review_once(&value).await?;
        ensure!(!response.allowed, "{response:?}");
        let expected = "secret-value: denied: the plugin returned a value, and server.clients.mode is open";
        ensure!(response.message.contains(expected), "{}", response.message);
        ensure!(!format!("{response:?}").contains(CANARY), "{response:?}");
        let reference = Review::of(&asking("forged", [annotation("group", "key", EnvVar)]), namespace);
        let patch = serde_json::to_string(&ampoule.review_once(&reference).await?.patch)?;
        ensure!(patch.contains("secretKeyRef") && !patch.contains(CANARY), "{patch}");
    }
    // A path of the API server's requests in place of a namespace.
    for namespace in ["kube-system/configmaps/coredns?", "..", "a/b", "Default", "a%2fb", &"a".repeat(64)] {
        let forged = Review::of(&asking("forged", [annotation("group", "key", EnvVar)]), namespace);
        let refusal = ampoule.review_once(&forged).await.err().map(|error| format!("{error:#}"));
        let expected = "request.namespace must be the name of a namespace";
        ensure!(refusal.as_ref().is_some_and(|text| text.contains(expected)), "{namespace}: {refusal:?}");
    }
    ensure!(!ampoule.log()?.contains(CANARY), "a value is in the log");
    ensure_served(&ampoule).await?;
    ensure_survived(ampoule).await
}
