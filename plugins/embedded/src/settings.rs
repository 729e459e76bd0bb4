//! [`Settings`]: where the secrets are, the scopes that a namespace may use, and the image pull
//! secrets.

use ampoule_plugin_sdk::InjectionError::{self, Denied};
use ampoule_plugin_store::{aws, azure, gcp};
use serde::Deserialize;

use crate::scope::Coordinates;

/// The organization of Flyte's open-source version.
const ORGANIZATION: &str = "flyte";

/// The settings of the injector (`injectors[].settings`). Every key is optional.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Settings {
    /// Prefix of the names of environment variables. Default: `conventions.envPrefix` of the
    /// webhook.
    pub(crate) env_prefix: Option<String>,
    /// Store of the secrets.
    #[serde(rename = "type")]
    pub(crate) kind: StoreType,
    pub(crate) k8s: K8s,
    /// AWS Secrets Manager. Required for the type `AWS`.
    pub(crate) aws: Option<aws::Settings>,
    /// Google Secret Manager. Required for the type `GCP`.
    pub(crate) gcp: Option<gcp::Settings>,
    /// Azure Key Vault. Required for the type `Azure`.
    pub(crate) azure: Option<azure::Settings>,
    pub(crate) scopes: Bindings,
    pub(crate) image_pull: ImagePull,
}

/// A store, by its name in Flyte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) enum StoreType {
    /// Kubernetes Secrets in one namespace.
    #[default]
    K8s,
    /// AWS Secrets Manager.
    #[serde(rename = "AWS")]
    Aws,
    /// Google Secret Manager.
    #[serde(rename = "GCP")]
    Gcp,
    /// Azure Key Vault.
    Azure,
}

/// The Kubernetes Secrets.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct K8s {
    /// Namespace of the Secrets. It must be the namespace in which Flyte's service creates them.
    pub(crate) namespace: String,
}

/// The scopes that pods may use, by their namespace. Without it, only the labels of a pod decide,
/// which its creator sets.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct Bindings {
    /// Template of the namespace for a scope, such as `{project}-{domain}`. Also replaces
    /// `{organization}`.
    pub(crate) template: Option<String>,
    /// The organization of pods whose namespace is bound by a template without `{organization}`.
    /// Default: `flyte`, the only organization of Flyte's open-source version.
    pub(crate) organization: Option<String>,
    /// Namespaces with the scopes that they may use, in addition to the template.
    pub(crate) namespaces: Vec<Binding>,
}

/// A namespace and a scope. An absent part permits every value.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct Binding {
    /// The namespace. Required.
    pub(crate) namespace: String,
    /// The organization.
    pub(crate) organization: Option<String>,
    /// The project.
    pub(crate) project: Option<String>,
    /// The domain.
    pub(crate) domain: Option<String>,
}

/// Image pull secrets.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct ImagePull {
    /// Keys of secrets that contain a Docker configuration. A pod that requests one gets it as an
    /// image pull secret, and no container sees it unless the request is for a file. A `*` at the
    /// end covers all keys with that start.
    pub(crate) names: Vec<String>,
    /// Whether a variable that is requested becomes an image pull secret if its value is a Docker
    /// configuration: a JSON object with the object `auths`. The webhook then reads every secret
    /// that is requested as a variable, once more than without.
    pub(crate) detect: bool,
    /// Whether to use the Secrets `img-pull-…` that Flyte's backend creates, for every secret that
    /// a pod requests.
    pub(crate) existing: bool,
    /// Namespace of the Secrets `img-pull-…`.
    pub(crate) namespace: String,
}

// === impl Settings ===

impl Settings {
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.k8s.namespace.is_empty() {
            return Err("k8s.namespace: is empty".to_owned());
        }
        self.check_sections()?;
        for part in ["{project}", "{domain}"] {
            if let Some(template) = self.scopes.template.as_ref().filter(|template| !template.contains(part)) {
                return Err(format!("scopes.template: {template:?} does not contain `{part}`"));
            }
        }
        match self.scopes.namespaces.iter().position(|binding| binding.namespace.is_empty()) {
            Some(i) => Err(format!("scopes.namespaces[{i}].namespace: is required")),
            None => Ok(()),
        }
    }
}

impl Settings {
    /// Checks that the sections of cloud stores fit the type.
    fn check_sections(&self) -> Result<(), String> {
        for (section, is_set, kind) in [
            ("aws", self.aws.is_some(), StoreType::Aws),
            ("gcp", self.gcp.is_some(), StoreType::Gcp),
            ("azure", self.azure.is_some(), StoreType::Azure),
        ] {
            match (is_set, kind == self.kind) {
                (false, true) => return Err(format!("{section}: is required for this type")),
                (true, false) => return Err(format!("{section}: has no effect with this type")),
                _ => {}
            }
        }
        Ok(())
    }
}

// === impl K8s, ImagePull ===

impl Default for K8s {
    fn default() -> Self {
        Self { namespace: "flyte".to_owned() }
    }
}

impl Default for ImagePull {
    fn default() -> Self {
        Self { names: Vec::new(), detect: false, existing: false, namespace: "flyte".to_owned() }
    }
}

impl ImagePull {
    pub(crate) fn is_listed(&self, key: &str) -> bool {
        self.names.iter().any(|name| match name.strip_suffix('*') {
            Some(start) => key.starts_with(start),
            None => name == key,
        })
    }
}

// === impl Bindings ===

impl Bindings {
    pub(crate) fn is_empty(&self) -> bool {
        self.template.is_none() && self.namespaces.is_empty()
    }

    /// Denies a scope that the pod's namespace may not use.
    pub(crate) fn permit(&self, namespace: &str, of: &Coordinates) -> Result<(), InjectionError> {
        let by_template = self.template.as_ref().is_some_and(|template| {
            let only = self.organization.as_deref().unwrap_or(ORGANIZATION);
            let is_bound = template.contains("{organization}") || of.organization == only;
            let expected = template.replace("{project}", &of.project).replace("{domain}", &of.domain);
            is_bound && expected.replace("{organization}", &of.organization) == namespace
        });
        if self.is_empty() || by_template || self.namespaces.iter().any(|binding| binding.permits(namespace, of)) {
            return Ok(());
        }
        let Coordinates { organization, domain, project } = of;
        Err(Denied(format!(
            "the pod's labels state project {project}, domain {domain} and organization {organization}, which pods in \
             namespace {namespace} may not use (settings.scopes)"
        )))
    }
}

// === impl Binding ===

impl Binding {
    fn permits(&self, namespace: &str, of: &Coordinates) -> bool {
        let covers = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        self.namespace == namespace
            && covers(&self.organization, &of.organization)
            && covers(&self.project, &of.project)
            && covers(&self.domain, &of.domain)
    }
}
