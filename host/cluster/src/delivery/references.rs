//! [`CarrierKind`]: the Secrets and ConfigMaps that a pod refers to.
//!
//! Kubernetes has a reference to a Secret in variables, volumes and image pull secrets. The
//! ConfigMaps with components are in volumes only.

use std::{collections::BTreeSet, fmt};

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, EnvFromSource, EnvVar, Pod, PodSpec, Secret, Volume},
};
use kube::Resource;
use serde::de::DeserializeOwned;

/// A kind of objects that carry something to pods.
pub(super) trait CarrierKind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + fmt::Debug + DeserializeOwned
{
    /// The name in messages.
    const PLURAL: &str;

    /// Returns the names of the objects that a pod refers to.
    fn names_in(spec: &PodSpec) -> BTreeSet<&str>;
}

impl CarrierKind for Secret {
    const PLURAL: &str = "Secrets";

    fn names_in(spec: &PodSpec) -> BTreeSet<&str> {
        secrets_of_spec(spec)
    }
}

impl CarrierKind for ConfigMap {
    const PLURAL: &str = "ConfigMaps";

    fn names_in(spec: &PodSpec) -> BTreeSet<&str> {
        let projected = spec.volumes.iter().flatten().filter_map(|volume| volume.projected.as_ref());
        let sources = projected.flat_map(|projected| projected.sources.iter().flatten());
        sources.filter_map(|source| source.config_map.as_ref()).map(|config_map| config_map.name.as_str()).collect()
    }
}

/// Returns the names of the objects that the pod still needs; none for a pod that has ended.
pub(super) fn needed_by<K: CarrierKind>(pod: &Pod) -> BTreeSet<&str> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    match &pod.spec {
        Some(spec) if !matches!(phase, Some("Succeeded" | "Failed")) => K::names_in(spec),
        _ => BTreeSet::new(),
    }
}

fn secrets_of_spec(spec: &PodSpec) -> BTreeSet<&str> {
    let mut names: BTreeSet<&str> =
        spec.image_pull_secrets.iter().flatten().map(|reference| reference.name.as_str()).collect();
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        add_environment(&mut names, container.env.as_deref(), container.env_from.as_deref());
    }
    for container in spec.ephemeral_containers.iter().flatten() {
        add_environment(&mut names, container.env.as_deref(), container.env_from.as_deref());
    }
    spec.volumes.iter().flatten().for_each(|volume| add_volume(&mut names, volume));
    names
}

fn add_environment<'p>(
    names: &mut BTreeSet<&'p str>,
    env: Option<&'p [EnvVar]>,
    env_from: Option<&'p [EnvFromSource]>,
) {
    for variable in env.unwrap_or_default() {
        let reference = variable.value_from.as_ref().and_then(|source| source.secret_key_ref.as_ref());
        names.extend(reference.map(|reference| reference.name.as_str()));
    }
    for source in env_from.unwrap_or_default() {
        names.extend(source.secret_ref.as_ref().map(|reference| reference.name.as_str()));
    }
}

fn add_volume<'p>(names: &mut BTreeSet<&'p str>, volume: &'p Volume) {
    names.extend(volume.secret.as_ref().and_then(|secret| secret.secret_name.as_deref()));
    let csi = volume.csi.as_ref().and_then(|csi| csi.node_publish_secret_ref.as_ref());
    names.extend(csi.map(|reference| reference.name.as_str()));
    let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    names.extend(projected.filter_map(|source| source.secret.as_ref()).map(|secret| secret.name.as_str()));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_refers_to_components_in_projected_volumes() {
        let sources = json!([{ "configMap": { "name": "a" } }, { "secret": { "name": "b" } }]);
        let volumes = json!([{ "name": "v", "projected": { "sources": sources } }, { "name": "w", "emptyDir": {} }]);
        let pod: Pod = serde_json::from_value(json!({ "spec": { "containers": [], "volumes": volumes } })).unwrap();
        assert_eq!(needed_by::<ConfigMap>(&pod).into_iter().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_pod_refers_to_secrets_in_variables_volumes_and_pull_secrets() {
        let from = |name: &str| json!({ "name": "V", "valueFrom": { "secretKeyRef": { "name": name, "key": "k" } } });
        let spec = json!({
            "containers": [{ "name": "a", "env": [from("env"), { "name": "W", "value": "v" }],
                             "envFrom": [{ "secretRef": { "name": "env-from" } }] }],
            "initContainers": [{ "name": "b", "env": [from("init")] }],
            "ephemeralContainers": [{ "name": "c", "env": [from("ephemeral")] }],
            "imagePullSecrets": [{ "name": "pull" }],
            "volumes": [
                { "name": "a", "secret": { "secretName": "volume" } },
                { "name": "b", "projected": { "sources": [{ "secret": { "name": "projected" } }] } },
                { "name": "c", "emptyDir": {} },
            ],
        });
        let all = vec!["env", "env-from", "ephemeral", "init", "projected", "pull", "volume"];
        for (phase, expected) in
            [("Pending", all.clone()), ("Running", all), ("Succeeded", Vec::new()), ("Failed", Vec::new())]
        {
            let pod = json!({ "metadata": {}, "spec": spec, "status": { "phase": phase } });
            let pod: Pod = serde_json::from_value(pod).unwrap();
            assert_eq!(needed_by::<Secret>(&pod).into_iter().collect::<Vec<_>>(), expected, "{phase}");
        }
    }
}
