//! Tags of registries that the configuration names, followed by asking for each every so often: [`Tags`].
//!
//! A reference with a digest always names the same component, and is not asked for.

use std::collections::BTreeMap;

use tokio::time::sleep;

use crate::{
    config::{OciReference, RegistriesConfig},
    fetch::oci::Registry,
};

/// Tags, and the manifests that they were seen to name.
#[derive(Default)]
pub(super) struct Tags {
    registries: RegistriesConfig,
    /// By the references; none where there was no answer.
    known: BTreeMap<String, (OciReference, Option<String>)>,
}

// === impl Tags ===

impl Tags {
    /// Follows these and no others, before they are pulled: those that are new are asked for now.
    pub(super) async fn follow(&mut self, registries: &RegistriesConfig, references: Vec<OciReference>) {
        let before = std::mem::take(&mut self.known);
        let known =
            |reference: &OciReference| before.get(&reference.to_string()).filter(|_| self.registries == *registries);
        for reference in references {
            let digest = match known(&reference) {
                Some((_, digest)) => digest.clone(),
                None => resolve(registries, &reference).await,
            };
            self.known.insert(reference.to_string(), (reference, digest));
        }
        self.registries = registries.clone();
    }

    /// Waits until one names another manifest than it was seen to. Cancel safe.
    pub(super) async fn changed(&mut self) {
        if self.known.is_empty() {
            std::future::pending::<()>().await;
        }
        loop {
            sleep(self.registries.refresh).await;
            for (reference, digest) in self.known.values_mut() {
                let found = resolve(&self.registries, reference).await;
                // Without an answer, it names what it did.
                if found.is_some() && found != *digest {
                    *digest = found;
                    return;
                }
            }
        }
    }
}

/// None without an answer: why there is none, whoever pulls is told.
async fn resolve(registries: &RegistriesConfig, reference: &OciReference) -> Option<String> {
    Registry::open(registries, None).ok()?.resolve(reference).await.ok()
}
