//! The built-in plugins accept the settings that Flyte's configuration files are converted to. Both
//! sides define the names of the settings.
//!
//! The cases are every key of each secret manager, and no key.

use ampoule_components::builtins;
use ampoule_config::{ConfigSource, FlyteSource, ProfileName};
use ampoule_plugin_bundle::COMPONENTS;
use ampoule_telemetry::metrics::Metrics;

use super::Loader;

#[test]
fn every_plugin_accepts_the_settings_of_its_secret_manager() {
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
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("a.yaml");
            std::fs::write(&file, yaml).unwrap();
            let source =
                FlyteSource { globs: vec![file.display().to_string()], flags: Vec::new(), profile: Some(profile) };
            let config = ConfigSource::Flyte(source).load(&builtins::names(COMPONENTS)).unwrap().config;
            let loaded = runtime.block_on(Loader::new(COMPONENTS, Metrics::new()).load(&config)).unwrap();
            let names: Vec<_> = loaded.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
            assert_eq!(names, ["k8s", "aws", "gcp", "azure", "vault"]);
        }
    }
}
