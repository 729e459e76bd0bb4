//! Every key of Flyte's sections `webhook` and `secrets`, in both versions, and what becomes of it here.
//!
//! After flyte-behaviour sections 4.3, 7 and 8. A key that is not in this table is unknown, and said to be.

/// One key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// From the root. What stands below it belongs to it.
    pub(super) path: &'static str,
    /// Whether it is there in Flyte 2 only, and so tells the version.
    pub(super) only_v2: bool,
    pub(super) fate: Fate,
}

/// What becomes of a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Used,
    /// It has its effect, and its author should know this of it.
    UsedWith(&'static str),
    /// It has no effect, for this reason.
    Ignored(&'static str),
}

use Fate::{Ignored, Used, UsedWith};

/// All keys.
pub(super) const KEYS: [Key; 29] = [
    v1("webhook.metrics-prefix", Ignored("metrics have names of their own here, see /metrics")),
    v1("webhook.certDir", Used),
    v1("webhook.localCert", Used),
    v1("webhook.listenPort", Used),
    v2("webhook.cacheInvalidationPort", Ignored("no value of a secret is cached here")),
    v1("webhook.serviceName", Used),
    v1("webhook.servicePort", Used),
    v1("webhook.secretName", Used),
    v1("webhook.secretManagerType", Used),
    v2("webhook.secretManagerTypes", Used),
    v1("webhook.awsSecretManager.sidecarImage", Used),
    v1("webhook.awsSecretManager.resources", Used),
    v1("webhook.gcpSecretManager.sidecarImage", Used),
    v1("webhook.gcpSecretManager.resources", Used),
    v2("webhook.azureSecretManager.sidecarImage", Used),
    v2("webhook.azureSecretManager.resources", Used),
    v1("webhook.vaultSecretManager.role", Used),
    v1(
        "webhook.vaultSecretManager.kvVersion",
        UsedWith("Flyte calls it deprecated, as a secret's group version says the same"),
    ),
    v1("webhook.vaultSecretManager.annotations", Used),
    v2("webhook.embeddedSecretManagerConfig", Ignored("Embedded is not among the secret managers")),
    v2("webhook.imageBuilderConfig", Ignored("no image is changed here, nor by Flyte's own webhook")),
    v2("webhook.webhookTimeout", UsedWith("it is the registration's timeout here, and without effect in Flyte")),
    v1("webhook.disableCreateMutatingWebhookConfig", Used),
    v1("webhook.namespaceSelector", Used),
    v2("webhook.kubeClientConfig", Ignored("what the API server is asked is too little to need a limit")),
    v2("webhook.secretEnvVarPrefix", Used),
    v1("secrets.secrets-prefix", Used),
    v1("secrets.env-prefix", Used),
    v2("secrets.type", Ignored("it has no effect in Flyte either")),
];

/// Flags of Flyte's commands: the key that each sets, and whether it may stand without a value.
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

const fn v1(path: &'static str, fate: Fate) -> Key {
    Key { path, only_v2: false, fate }
}

const fn v2(path: &'static str, fate: Fate) -> Key {
    Key { path, only_v2: true, fate }
}
