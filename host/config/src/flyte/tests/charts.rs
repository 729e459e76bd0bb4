//! The files of Flyte's charts and their translation: flyte-core, flyte-binary of Flyte 1,
//! flyte-binary of Flyte 2.
//!
//! Sections that do not concern the webhook are abridged.

use super::{V1, check};

#[test]
fn reads_the_files_of_the_chart_flyte_core() {
    check(
        FLYTE_CORE,
        "
profile: flyte-v1
globalSecrets:
  enabled: true
  delivery: inline
  acceptPlaintext: true
server:
  clients:
    acceptValuesToAnyone: true
registration:
  enabled: true
  create: true
  name: flyte-pod-webhook
  webhookName: flyte-pod-webhook.flyte.org
  serviceName: flyte-pod-webhook
  namespaceSelector: {}
certificates:
  secretName: flyte-pod-webhook
injectors:
- name: k8s
  component: builtin:k8s
",
        &[V1],
    );
}

#[test]
fn reads_the_files_of_the_chart_flyte_binary_of_flyte_1() {
    let core = "
admin: { endpoint: 'localhost:8089', insecure: true }
logger: { show-source: true, level: 1 }
webhook:
  certDir: /var/run/flyte/certs
  localCert: true
  secretName: flyte-backend-flyte-binary-webhook-secret
  serviceName: flyte-backend-flyte-binary-webhook
  servicePort: 443
flyte:
  admin: { disableClusterResourceManager: false }
";
    let inline = "
webhook:
  secretManagerType: AWS
  awsSecretManager:
    sidecarImage: registry.example.org/aws-sidecar:v1
    resources:
      limits: { cpu: 1, memory: 200Mi }
  disableCreateMutatingWebhookConfig: 'true'
  namespaceSelector:
    matchExpressions: [{ key: team, operator: In, values: [ml] }]
";
    check(
        &[("000-core.yaml", core), ("100-inline-config.yaml", inline), ("003-notes.txt", "not: [yaml")],
        "
profile: flyte-v1
globalSecrets:
  enabled: true
  delivery: inline
  acceptPlaintext: true
server:
  certDir: /var/run/flyte/certs
  clients:
    acceptValuesToAnyone: true
registration:
  name: flyte-backend-flyte-binary-webhook
  webhookName: flyte-pod-webhook.flyte.org
  serviceName: flyte-backend-flyte-binary-webhook
  namespaceSelector:
    matchExpressions:
    - key: team
      operator: In
      values:
      - ml
certificates:
  secretName: flyte-backend-flyte-binary-webhook-secret
  copyToCertDir: true
injectors:
- name: aws
  component: builtin:aws
  settings:
    image: registry.example.org/aws-sidecar:v1
    resources:
      limits:
        cpu: \"1\"
        memory: 200Mi
",
        &[V1],
    );
}

#[test]
fn reads_the_files_of_the_chart_flyte_binary_of_flyte_2() {
    // A later file replaces the chart's own list.
    let core = "
logger: { show-source: true, level: 1 }
webhook:
  certDir: /var/run/flyte/certs
  localCert: true
  secretName: flyte-webhook-secret
  serviceName: flyte-webhook
  servicePort: 443
  secretManagerTypes:
    - Embedded
  embeddedSecretManagerConfig:
    type: K8s
    k8sConfig:
      namespace: flyte
executor: { healthProbeBindAddress: ':8081' }
secret: { kubernetes: { namespace: flyte } }
";
    let inline = "
webhook:
  secretManagerTypes: [Global, azure, K8S, k8s]
  secretEnvVarPrefix: _ACME_
  azureSecretManager: { sidecarImage: 'registry.example.org/azure-cli:2' }
  webhookTimeout: 15
  kubeClientConfig: { qps: 100, burst: 25, timeout: 30s }
  imageBuilderConfig: { enabled: true }
  cacheInvalidationPort: 0
secrets: { type: local, secrets-prefix: /var/run/secrets, env-prefix: ACME_SECRET_ }
";
    check(
        &[("000-core.yaml", core), ("100-inline-config.yaml", inline)],
        "
profile: flyte-v2
conventions:
  envPrefix: _ACME_
globalSecrets:
  enabled: true
  delivery: inline
  acceptPlaintext: true
  envPrefix: ACME_SECRET_
  directory: /var/run/secrets
server:
  certDir: /var/run/flyte/certs
  clients:
    acceptValuesToAnyone: true
registration:
  enabled: true
  create: true
  name: flyte-webhook
  webhookName: flyte-pod-webhook.flyte.org
  serviceName: flyte-webhook
  namespaceSelector: {}
  timeoutSeconds: 15
certificates:
  secretName: flyte-webhook-secret
  copyToCertDir: true
injectors:
- name: azure
  component: builtin:azure
  settings:
    image: registry.example.org/azure-cli:2
- name: k8s
  component: builtin:k8s
",
        &[
            "note: profile flyte-v2, because webhook.cacheInvalidationPort (DIR/100-inline-config.yaml) exists only in Flyte 2; \
             --profile overrides it",
            "warning: webhook.imageBuilderConfig (DIR/100-inline-config.yaml): is ignored: neither Ampoule nor Flyte's \
             webhook changes images",
            "warning: webhook.webhookTimeout (DIR/100-inline-config.yaml): takes effect; Ampoule uses it as the \
             registration's timeout; Flyte ignores it",
            "warning: webhook.kubeClientConfig (DIR/100-inline-config.yaml): is ignored: Ampoule sends too few requests \
             to the API server to need a limit",
            "warning: secrets.type (DIR/100-inline-config.yaml): is ignored: Flyte ignores it as well",
            "warning: webhook.secretManagerTypes[3] (DIR/100-inline-config.yaml): is ignored: k8s is in the list twice",
        ],
    );
}

#[test]
fn the_default_of_flyte_2_reads_only_secrets_that_flyte_created() {
    let core = "
webhook:
  secretEnvVarPrefix: _X_
  embeddedSecretManagerConfig:
    k8sConfig: { namespace: union }
    imagePullSecrets: { enabled: true }
    fileMountInitContainer: { image: busybox }
";
    check(
        &[("000-core.yaml", core)],
        "
profile: flyte-v2
conventions:
  envPrefix: _X_
globalSecrets:
  enabled: true
  delivery: inline
  acceptPlaintext: true
server:
  clients:
    acceptValuesToAnyone: true
registration:
  enabled: true
  create: true
  name: flyte-pod-webhook
  webhookName: flyte-pod-webhook.flyte.org
  serviceName: flyte-pod-webhook
  namespaceSelector: {}
certificates:
  secretName: flyte-pod-webhook
injectors:
- name: embedded
  component: builtin:embedded
  settings:
    imagePull: { existing: true, namespace: union }
    k8s: { namespace: union }
  limits: { deadlineMillis: 5000 }
  grants:
    kubernetesSecrets:
    - { namespace: union, matchLabels: { app.flyte.org/managed: 'true' } }
    - { namespace: union, matchLabels: { union.ai/secret-type: image-pull-secret } }
",
        &[
            "note: profile flyte-v2, because webhook.embeddedSecretManagerConfig (DIR/000-core.yaml) exists only in \
             Flyte 2; --profile overrides it",
            "note: webhook.embeddedSecretManagerConfig.imagePullSecrets.enabled (DIR/000-core.yaml): takes effect for \
             Secrets `img-pull-…` in namespace union with the label union.ai/secret-type",
            "warning: webhook.embeddedSecretManagerConfig.fileMountInitContainer (DIR/000-core.yaml): is ignored: files \
             need no init container",
        ],
    );
}

/// The content of `flyte-propeller-config`; sections that do not concern the webhook are abridged.
const FLYTE_CORE: &[(&str, &str)] = &[
    (
        "admin.yaml",
        "event: { type: admin, rate: 500, capacity: 1000 }
admin: { endpoint: 'flyteadmin:81', insecure: true, clientId: flytepropeller, clientSecretLocation: /etc/secrets/client_secret }
",
    ),
    ("cache.yaml", "cache: { max_size_mbs: 1024, target_gc_percent: 70 }\n"),
    (
        "core.yaml",
        "manager:
  pod-application: flytepropeller
  pod-template-container-name: flytepropeller
propeller:
  downstream-eval-duration: 30s
  enable-admin-launcher: true
  leader-election: { enabled: true, lock-config-map: { name: propeller-leader, namespace: flyte } }
  limit-namespace: all
  metadata-prefix: metadata/propeller
  metrics-prefix: flyte
  prof-port: 10254
  queue: { batch-size: -1, batching-interval: 2s, queue: { base-delay: 5s, qps: 1000, type: maxof } }
  workers: 40
webhook:
  certDir: /etc/webhook/certs
  serviceName: flyte-pod-webhook
",
    ),
    (
        "k8s.yaml",
        "plugins:
  k8s:
    default-env-vars: []
    default-cpus: 100m
    1: a key that is no text
",
    ),
    ("logger.yaml", "logger: { level: 4, show-source: true }\n"),
    ("resource_manager.yaml", "propeller: { resourcemanager: { type: noop } }\n"),
];
