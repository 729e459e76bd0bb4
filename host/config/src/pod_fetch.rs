//! Delivery `pod`: the key `delivery.pod`, and [`FetchPlugin`], by which the program in a pod loads
//! an injector's plugin.

use std::{collections::BTreeMap, sync::Arc};

use ampoule_core::{
    ComponentVolume, Conventions, Delivery, EnvPlacement, FetchRecipe, FetchToken, InitContainerPosition,
    InjectedNames, Limits, PodFetching, ReferenceSyntax, Resources, TOKENS_DIRECTORY, VariableDelivery,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Config, ConfigError, CredentialConfig, GrantsConfig, GrantsFile, InjectorConfig,
    conventions::{ProfileName, mirror},
    limits::LimitsSection,
    section::section,
};

/// Audience of a token for AWS.
const AWS_AUDIENCE: &str = "sts.amazonaws.com";
/// Audience of a token for Microsoft Entra.
const AZURE_AUDIENCE: &str = "api://AzureADTokenExchange";
/// Before the name of a provider of Google, which is the audience of a token for it.
const GCP_AUDIENCE: &str = "https:";
/// Bytes of CA certificates in a pod.
const MAX_CA: usize = 32 << 10;

mirror! {
    /// How an environment variable gets a value that is fetched in the pod.
    #[derive(Default)]
    pub enum VariableDeliveryName for VariableDelivery {
        /// The kubelet reads it from a file (`fileKeyRef`). The API server and all nodes must have
        /// Kubernetes 1.35 or later. The value must not contain `'`.
        #[default]
        FileKey = FileKey,
        /// The value is in a file, and the variable `NAME_FILE` has its path.
        File = File,
        /// Both. A value that contains `'` is only in the file.
        Both = Both,
    }
}

/// The values that pods fetch, with `delivery: pod`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodFetchConfig {
    /// Image of Ampoule of the same version, with its digest (`REPOSITORY@sha256:DIGEST`). The
    /// nodes must be able to pull it: its program `ampoule-fetch` runs in the pods. Required for
    /// `delivery: pod`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// How environment variables get their values.
    pub variables: VariableDeliveryName,
    /// Time for all values of a pod together, in seconds. The pod waits for a store that is down,
    /// and its init container fails after this time.
    #[schemars(range(min = 1, max = 86_400))]
    pub total_seconds: u64,
    /// Interval at which a sidecar fetches the values of a pod with files again, in seconds. With
    /// `rotation.intervalSeconds`, also of a pod with variables, to find those with old values. The
    /// pod's annotation `ampoule.dev/refresh-seconds` has another interval, or 0 for no sidecar.
    /// Requires Kubernetes 1.29. Default: no sidecar.
    #[schemars(range(min = 10, max = 86_400))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_seconds: Option<u64>,
    /// How pods get the components that are not in the image of the program, which has the built-in
    /// ones.
    #[serde(deserialize_with = "section")]
    pub components: PodComponents,
    /// Compute resources of the init container and of the sidecar. With requests equal to limits,
    /// also for `cpu`, a pod of the class Guaranteed keeps its class.
    #[serde(deserialize_with = "section")]
    pub resources: PodFetchResources,
}

/// How pods get the components that are not built in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodComponents {
    /// Where they are.
    pub source: PodComponentSource,
    /// Image with the directory `components` that `ampoule portable` writes, with its digest. For
    /// `image-volume`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// Where the components of pods are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PodComponentSource {
    /// In the image of the program, to which an admin has added them.
    #[default]
    Image,
    /// In an image that the pod mounts. Requires Kubernetes 1.35 on the API server and all nodes.
    ImageVolume,
    /// In a ConfigMap that the webhook creates in the namespace of the pod. The component and its
    /// code must have less than 1 MiB, and the webhook's role must allow `create`, `get`, `patch`,
    /// `list` and `delete` on ConfigMaps there.
    ConfigMap,
}

/// Compute resources of the init container, as quantities of Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PodFetchResources {
    /// Requests by resource.
    pub requests: BTreeMap<String, String>,
    /// Limits by resource.
    pub limits: BTreeMap<String, String>,
}

/// The component of an injector, as pods get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedComponent {
    /// The SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// The SHA-256 of its code, if others can change the place of the code.
    pub code: Option<String>,
    /// What the pod mounts to have it.
    pub volume: Option<ComponentVolume>,
}

/// How the program in a pod loads the plugin of an injector.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FetchPlugin {
    /// The SHA-256 of the component, in hexadecimal.
    component: String,
    /// The SHA-256 of its code, if others can change the place of the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    settings: Value,
    limits: LimitsSection,
    grants: GrantsFile,
    /// CA certificates in PEM form, in addition to the public roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca: Option<String>,
    profile: ProfileName,
    env_prefix: String,
    mount_directory: String,
}

/// The checked parts of a [`FetchPlugin`].
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedFetchPlugin {
    /// The SHA-256 of the component, in hexadecimal.
    pub component: String,
    /// The SHA-256 of its code, in hexadecimal; `None` if the image of the program vouches for it.
    pub code: Option<String>,
    /// The settings.
    pub settings: Value,
    /// The limits.
    pub limits: Limits,
    /// The grants.
    pub grants: GrantsConfig,
    /// CA certificates in PEM form, in addition to the public roots.
    pub ca: Option<String>,
    /// The conventions of the webhook.
    pub conventions: Conventions,
}

// === impl PodFetchConfig ===

impl Default for PodFetchConfig {
    fn default() -> Self {
        Self {
            image: None,
            variables: VariableDeliveryName::default(),
            total_seconds: 600,
            refresh_seconds: None,
            components: PodComponents::default(),
            resources: PodFetchResources::default(),
        }
    }
}

impl PodFetchConfig {
    /// How values are fetched in pods, with the recipes of the injectors in their order. `None`
    /// without an image.
    fn fetching(&self, recipes: Vec<Option<Arc<FetchRecipe>>>) -> Option<PodFetching> {
        Some(PodFetching {
            image: self.image.clone()?,
            variables: self.variables.into(),
            total_seconds: self.total_seconds,
            refresh_seconds: self.refresh_seconds,
            reports_changes: false,
            resources: Resources {
                requests: self.resources.requests.clone().into_iter().collect(),
                limits: self.resources.limits.clone().into_iter().collect(),
            },
            recipes,
        })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.resources.check("delivery.pod.resources")?;
        self.components.check()?;
        self.image.as_deref().map_or(Ok(()), |image| check_pinned("delivery.pod.image", image))
    }
}

/// Checks that an image has a digest.
fn check_pinned(key: &str, image: &str) -> Result<(), ConfigError> {
    let digest = image.rsplit_once("@sha256:").map(|(_, digest)| digest);
    if digest.is_some_and(crate::source::is_sha256) {
        return Ok(());
    }
    let reason = "has no digest, so the program that gets the secrets could change; use REPOSITORY@sha256:DIGEST";
    Err(ConfigError::at(key, reason))
}

// === impl Config ===

impl Config {
    /// How values are fetched in pods, with the recipes of the injectors in their order. `None`
    /// without `delivery.pod.image`.
    #[must_use]
    pub fn pod_fetching(&self, recipes: Vec<Option<Arc<FetchRecipe>>>) -> Option<PodFetching> {
        let fetching = self.delivery.pod.fetching(recipes)?;
        Some(PodFetching { reports_changes: self.pods_report_changes(), ..fetching })
    }
}

// === impl PodComponents ===

impl PodComponents {
    fn check(&self) -> Result<(), ConfigError> {
        let key = "delivery.pod.components.image";
        match (self.source, &self.image) {
            (PodComponentSource::ImageVolume, Some(image)) => check_pinned(key, image),
            (PodComponentSource::ImageVolume, None) => {
                Err(ConfigError::at(key, "is required with the source image-volume"))
            }
            (_, Some(_)) => Err(ConfigError::at(key, "has no effect without the source image-volume")),
            (_, None) => Ok(()),
        }
    }
}

// === impl PodFetchResources ===

impl Default for PodFetchResources {
    fn default() -> Self {
        let quantities = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, quantity)| ((*name).to_owned(), (*quantity).to_owned())).collect()
        };
        Self { requests: quantities(&[("cpu", "10m"), ("memory", "32Mi")]), limits: quantities(&[("memory", "128Mi")]) }
    }
}

impl PodFetchResources {
    fn check(&self, key: &str) -> Result<(), ConfigError> {
        for (part, quantities) in [("requests", &self.requests), ("limits", &self.limits)] {
            for (name, quantity) in quantities {
                let is_quantity = quantity.starts_with(|c: char| c.is_ascii_digit())
                    && quantity.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
                if !is_quantity {
                    let reason = format!("{quantity:?} is not a quantity, such as 100m or 64Mi");
                    return Err(ConfigError::at(format!("{key}.{part}.{name}"), reason));
                }
            }
        }
        Ok(())
    }
}

// === impl InjectorConfig ===

impl InjectorConfig {
    /// What the plugin can reach in the webhook. With `delivery: pod`, the webhook only plans: the
    /// stores are for the identity of the pods.
    #[must_use]
    pub fn webhook_grants(&self) -> GrantsConfig {
        let mut grants = self.grants.clone();
        if self.delivery == Delivery::Pod {
            grants.http = None;
        }
        grants
    }

    /// Returns the key of the first grant by which the plugin reads something in the webhook.
    #[must_use]
    pub fn first_that_reads(&self) -> Option<&'static str> {
        self.webhook_grants().first_that_reads()
    }

    /// Checks that a pod can fetch the values of the injector, which is the value of `key`.
    pub(crate) fn check_pod_delivery(&self, key: &str, pods: &PodFetchConfig) -> Result<(), ConfigError> {
        let at = |part: &str| if key.is_empty() { part.to_owned() } else { format!("{key}.{part}") };
        if pods.image.is_none() {
            return Err(ConfigError::at(at("delivery"), "pod requires delivery.pod.image, the image of the program"));
        }
        let own = "belongs to the webhook, and a pod with delivery: pod does not have it";
        if !self.grants.environment.is_empty() {
            return Err(ConfigError::at(at("grants.environment"), format!("the webhook's environment {own}")));
        }
        if !self.grants.kubernetes_secrets.is_empty() || !self.grants.labelled_secrets.is_empty() {
            return Err(ConfigError::at(at("grants.kubernetesSecrets"), format!("the access to Secrets {own}")));
        }
        let Some(http) = &self.grants.http else {
            return Err(ConfigError::at(at("grants.http"), "is required for delivery: pod, where the plugin fetches"));
        };
        for (i, host) in http.hosts.iter().enumerate() {
            if host.credential.as_ref().is_some_and(|credential| !credential.is_identity()) {
                let reason = format!("this credential {own}; use vault, awsSigV4, gcp or azure");
                return Err(ConfigError::at(at(&format!("grants.http.hosts[{i}].credential")), reason));
            }
        }
        Ok(())
    }

    /// How the program in a pod loads the plugin. `ca` is the content of `grants.http.caFile`.
    ///
    /// # Errors
    ///
    /// The CA certificates are too large for a pod.
    pub fn fetch_recipe(
        &self,
        component: &FetchedComponent,
        ca: Option<&[u8]>,
        conventions: &Conventions,
    ) -> Result<FetchRecipe, String> {
        if ca.is_some_and(|pem| pem.len() > MAX_CA) {
            return Err(format!("grants.http.caFile has more than {} KiB, the limit for delivery: pod", MAX_CA >> 10));
        }
        let mut grants = self.grants.clone();
        let (mut tokens, mut variables) = (Vec::new(), Vec::new());
        if let Some(http) = &mut grants.http {
            http.ca_file = None;
            for (i, host) in http.hosts.iter_mut().enumerate() {
                let Some(credential) = &mut host.credential else { continue };
                credential.use_pod_identity(&format!("{}-{i}", self.name), &mut tokens, &mut variables);
            }
        }
        let plugin = FetchPlugin {
            component: component.digest.clone(),
            code: component.code.clone(),
            settings: self.settings.clone(),
            limits: (&self.limits).into(),
            grants: (&grants).into(),
            ca: ca.map(|pem| String::from_utf8_lossy(pem).into_owned()),
            profile: conventions.profile.into(),
            env_prefix: conventions.env_prefix.clone(),
            mount_directory: conventions.mount_directory.clone(),
        };
        Ok(FetchRecipe { plugin: json!(plugin), tokens, variables, volume: component.volume.clone() })
    }
}

// === impl CredentialConfig ===

impl CredentialConfig {
    /// Whether the credential is an identity that a pod can have.
    fn is_identity(&self) -> bool {
        match self {
            Self::AwsSigV4(_) | Self::Gcp(_) | Self::Azure(_) | Self::Vault(_) => true,
            Self::Bearer(_) | Self::Basic(_) | Self::Header(_) | Self::OAuth2(_) => false,
        }
    }

    /// Lets the credential use a token of the pod's service account. `name` is unique in the pod.
    fn use_pod_identity(&mut self, name: &str, tokens: &mut Vec<FetchToken>, variables: &mut Vec<(String, String)>) {
        let path = |file: &str| format!("{TOKENS_DIRECTORY}/{file}");
        let mut token = |file: &str, audience: Option<&str>| {
            tokens.push(FetchToken { file: file.to_owned(), audience: audience.map(str::to_owned) });
        };
        let mut set = |name: &str, value: String| variables.push((name.to_owned(), value));
        match self {
            Self::Vault(vault) => {
                token(name, vault.audience.as_deref());
                vault.token_file = path(name).into();
            }
            Self::AwsSigV4(aws) => {
                // The role is in the credential. As a variable, it would also be that of other
                // credentials of the pod.
                if aws.role_arn.is_some() {
                    token("aws", Some(AWS_AUDIENCE));
                    set("AWS_WEB_IDENTITY_TOKEN_FILE", path("aws"));
                }
            }
            Self::Azure(azure) => {
                if azure.client_id.is_some() && azure.tenant_id.is_some() {
                    token("azure", Some(AZURE_AUDIENCE));
                    set("AZURE_FEDERATED_TOKEN_FILE", path("azure"));
                }
            }
            Self::Gcp(gcp) => {
                if let Some(audience) = &gcp.audience {
                    token(name, Some(&[GCP_AUDIENCE, audience].concat()));
                    gcp.token_file = Some(path(name).into());
                }
            }
            Self::Bearer(_) | Self::Basic(_) | Self::Header(_) | Self::OAuth2(_) => {}
        }
    }
}

// === impl FetchPlugin ===

impl FetchPlugin {
    /// Checks the parts.
    ///
    /// # Errors
    ///
    /// The first error. The webhook wrote the document, so it is a defect or another version.
    pub fn check(self) -> Result<CheckedFetchPlugin, ConfigError> {
        for (key, digest) in [("component", Some(&self.component)), ("code", self.code.as_ref())] {
            if digest.is_some_and(|digest| !crate::source::is_sha256(digest)) {
                return Err(ConfigError::at(key, "is not a SHA-256"));
            }
        }
        Ok(CheckedFetchPlugin {
            component: self.component,
            code: self.code,
            settings: self.settings,
            limits: self.limits.over(&Limits::default()),
            grants: self.grants.check("grants")?,
            ca: self.ca,
            conventions: Conventions {
                profile: self.profile.into(),
                env_prefix: self.env_prefix,
                mount_directory: self.mount_directory,
                env_placement: EnvPlacement::AppendIfAbsent,
                init_container_position: InitContainerPosition::First,
                names: InjectedNames::Plugin,
                references: ReferenceSyntax::default(),
            },
        })
    }
}
