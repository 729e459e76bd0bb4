//! The built-in plugins themselves read what Flyte's files become: the names of their settings are written down in two places.
//!
//! With every key that a manager has, and with none.

use ampoule_plugin_bundle::COMPONENTS;

use super::*;
use crate::{Metrics, plugins::Loader};

#[test]
fn every_plugin_takes_its_managers_settings() {
    let resources = "{ requests: { cpu: 1, memory: 200Mi }, limits: { cpu: '1', nvidia.com/gpu: 1 } }";
    let sidecar = format!("{{ sidecarImage: 'registry.example.org/sidecar:1', resources: {resources} }}");
    let full = format!(
        "
webhook:
  secretManagerTypes: [K8s, AWS, GCP, Azure, Vault, Global]
  awsSecretManager: {sidecar}
  gcpSecretManager: {sidecar}
  azureSecretManager: {sidecar}
  vaultSecretManager: {{ role: team, kvVersion: '1', annotations: {{ vault.hashicorp.com/namespace: ns1 }} }}
"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for yaml in [full.as_str(), "webhook: { secretManagerTypes: 'K8s,AWS,GCP,Azure,Vault,Global' }"] {
        for profile in [ProfileName::FlyteV1, ProfileName::FlyteV2] {
            let config = load(&[("a.yaml", yaml)], Some(profile), &[]).unwrap().config;
            let loaded = runtime.block_on(Loader::new(COMPONENTS, Metrics::new()).load(&config)).unwrap();
            let names: Vec<_> = loaded.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
            assert_eq!(names, ["k8s", "aws", "gcp", "azure", "vault"]);
        }
    }
}
