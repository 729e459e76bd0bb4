//! [`CallArg`]: the namespaces and the version that decide whether the API server calls the webhook
//! for a pod.
//!
//! The name of the pod's namespace is part of the pod.

use std::collections::BTreeMap;

use ampoule_cluster::version::KubernetesVersion;

/// The labels of the pod's namespace, the namespace of the webhook, and the API server.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CallArg {
    /// All labels of the pod's namespace, as KEY=VALUE,KEY=VALUE, for a registration that selects
    /// namespaces by other labels than the name (default: not known).
    #[arg(long, value_name = "LABELS", value_parser = parse_labels)]
    pub(crate) namespace_labels: Option<Labels>,
    /// Namespace of the webhook, which is excluded unless `registration.namespaceSelector` is set.
    #[arg(long, value_name = "NAMESPACE", default_value = "ampoule")]
    pub(crate) webhook_namespace: String,
    /// Version of the API server, such as 1.29. From 1.30, it evaluates the conditions of the
    /// registration (default: not known, as 1.30 or later).
    #[arg(long, value_name = "VERSION")]
    pub(crate) server_version: Option<KubernetesVersion>,
}

/// Labels of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels(pub(crate) BTreeMap<String, String>);

/// Reads labels as `kubectl get --show-labels` prints them. An empty text is no label.
fn parse_labels(text: &str) -> Result<Labels, String> {
    let mut labels = BTreeMap::new();
    for label in text.split(',').map(str::trim).filter(|label| !label.is_empty() && *label != "<none>") {
        let (key, value) = label.split_once('=').ok_or_else(|| format!("{label:?} has no =; use KEY=VALUE"))?;
        labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(Labels(labels))
}

#[cfg(test)]
impl CallArg {
    /// The default, with these labels.
    pub(crate) fn with_labels(namespace_labels: Option<BTreeMap<String, String>>) -> Self {
        Self {
            namespace_labels: namespace_labels.map(Labels),
            webhook_namespace: "ampoule".to_owned(),
            server_version: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_kubectl_prints_them() {
        for (text, expected) in [
            ("", Ok(vec![])),
            ("<none>", Ok(vec![])),
            ("team=ml", Ok(vec![("team", "ml")])),
            ("b=1, a=,c=x=y", Ok(vec![("a", ""), ("b", "1"), ("c", "x=y")])),
            ("team", Err("\"team\" has no =; use KEY=VALUE")),
        ] {
            let expected = expected.map(|pairs: Vec<(&str, &str)>| {
                Labels(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
            });
            assert_eq!(parse_labels(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}
