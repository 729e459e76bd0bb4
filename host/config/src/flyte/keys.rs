//! Every key of Flyte's sections `webhook` and `secrets`, in both versions, and its effect in
//! Ampoule.
//!
//! The table follows flyte-behaviour sections 4.3, 7 and 8. A key that is not in the table is
//! reported as unknown.

/// A key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// The path from the root. Keys below it belong to it.
    pub(super) path: &'static str,
    /// Whether only Flyte 2 has the key.
    pub(super) only_v2: bool,
    pub(super) effect: Effect,
}

/// The effect of a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    /// The same as in Flyte.
    Full,
    /// The same as in Flyte, with a remark for the author.
    Remarkable(&'static str),
    /// None, for this reason.
    None(&'static str),
}

/// All keys.
pub(super) const KEYS: [Key; 29] = [
    v1("webhook.metrics-prefix", Effect::None("Ampoule's metrics have fixed names, see /metrics")),
    v1("webhook.certDir", Effect::Full),
    v1("webhook.localCert", Effect::Full),
    v1("webhook.listenPort", Effect::Full),
    v2("webhook.cacheInvalidationPort", Effect::Full),
    v1("webhook.serviceName", Effect::Full),
    v1("webhook.servicePort", Effect::Full),
    v1("webhook.secretName", Effect::Full),
    v1("webhook.secretManagerType", Effect::Full),
    v2("webhook.secretManagerTypes", Effect::Full),
    v1("webhook.awsSecretManager.sidecarImage", Effect::Full),
    v1("webhook.awsSecretManager.resources", Effect::Full),
    v1("webhook.gcpSecretManager.sidecarImage", Effect::Full),
    v1("webhook.gcpSecretManager.resources", Effect::Full),
    v2("webhook.azureSecretManager.sidecarImage", Effect::Full),
    v2("webhook.azureSecretManager.resources", Effect::Full),
    v1("webhook.vaultSecretManager.role", Effect::Full),
    v1(
        "webhook.vaultSecretManager.kvVersion",
        Effect::Remarkable("Flyte deprecates it in favour of a secret's group version"),
    ),
    v1("webhook.vaultSecretManager.annotations", Effect::Full),
    v2("webhook.embeddedSecretManagerConfig", Effect::Full),
    v2("webhook.imageBuilderConfig", Effect::None("neither Ampoule nor Flyte's webhook changes images")),
    v2("webhook.webhookTimeout", Effect::Remarkable("Ampoule uses it as the registration's timeout; Flyte ignores it")),
    v1("webhook.disableCreateMutatingWebhookConfig", Effect::Full),
    v1("webhook.namespaceSelector", Effect::Full),
    v2("webhook.kubeClientConfig", Effect::None("Ampoule sends too few requests to the API server to need a limit")),
    v2("webhook.secretEnvVarPrefix", Effect::Full),
    v1("secrets.secrets-prefix", Effect::Full),
    v1("secrets.env-prefix", Effect::Full),
    v2("secrets.type", Effect::None("Flyte ignores it as well")),
];

/// Flags of Flyte's commands: the key that each flag sets, and whether its value is optional.
pub const FLAGS: [(&str, bool); 31] = [
    ("webhook.metrics-prefix", false),
    ("webhook.certDir", false),
    ("webhook.localCert", true),
    ("webhook.listenPort", false),
    ("webhook.cacheInvalidationPort", false),
    ("webhook.serviceName", false),
    ("webhook.servicePort", false),
    ("webhook.secretName", false),
    ("webhook.awsSecretManager.sidecarImage", false),
    ("webhook.gcpSecretManager.sidecarImage", false),
    ("webhook.azureSecretManager.sidecarImage", false),
    ("webhook.vaultSecretManager.role", false),
    ("webhook.embeddedSecretManagerConfig.type", false),
    ("webhook.embeddedSecretManagerConfig.awsConfig.region", false),
    ("webhook.embeddedSecretManagerConfig.gcpConfig.project", false),
    ("webhook.embeddedSecretManagerConfig.azureConfig.vaultURI", false),
    ("webhook.embeddedSecretManagerConfig.k8sConfig.namespace", false),
    ("webhook.embeddedSecretManagerConfig.k8sConfig.kubeClientConfig.qps", false),
    ("webhook.embeddedSecretManagerConfig.k8sConfig.kubeClientConfig.burst", false),
    ("webhook.embeddedSecretManagerConfig.k8sConfig.kubeClientConfig.timeout", false),
    ("webhook.embeddedSecretManagerConfig.fileMountInitContainer.image", false),
    ("webhook.embeddedSecretManagerConfig.fileMountInitContainer.containerName", false),
    ("webhook.embeddedSecretManagerConfig.imagePullSecrets.enabled", true),
    ("webhook.webhookTimeout", false),
    ("webhook.disableCreateMutatingWebhookConfig", true),
    ("webhook.kubeClientConfig.qps", false),
    ("webhook.kubeClientConfig.burst", false),
    ("webhook.kubeClientConfig.timeout", false),
    ("webhook.secretEnvVarPrefix", false),
    ("secrets.secrets-prefix", false),
    ("secrets.env-prefix", false),
];

const fn v1(path: &'static str, effect: Effect) -> Key {
    Key { path, only_v2: false, effect }
}

const fn v2(path: &'static str, effect: Effect) -> Key {
    Key { path, only_v2: true, effect }
}
