//! Tests of the configuration: defaults, every key, and the whole message of every error.
//!
//! A message names the key to change, and the valid values.

mod clients;
mod delivery;
mod edits;
mod grants;
mod policy;
mod reference;
mod schema;
mod trust;
mod unknown;

use std::time::Duration;

use super::*;

const BUILTINS: [&str; 2] = ["k8s", "aws"];

#[track_caller]
fn refuses(yaml: &str, expected: &str) {
    assert_eq!(Config::parse(yaml, &BUILTINS).unwrap_err().to_string(), expected, "{yaml}");
}

fn config(yaml: &str) -> Config {
    Config::parse(yaml, &BUILTINS).unwrap()
}

#[test]
fn an_empty_file_has_every_default() {
    for yaml in ["", "# nothing\n", "---\n", "{}", "server:\nengine:\nconventions:\ninjectors:\n"] {
        let config = config(yaml);
        assert_eq!(config.conventions, ampoule_core::Profile::FlyteV1.conventions());
        assert_eq!(config.on_failure, OnFailure::Deny);
        assert_eq!([config.server.listen, config.server.admin].map(|at| at.to_string()), ["[::]:9443", "[::]:10254"]);
        assert_eq!(config.server.cert_dir, Path::new("/etc/webhook/certs"));
        assert_eq!(config.server.shutdown_delay, Duration::from_secs(5));
        assert_eq!(config.server.shutdown_grace, Duration::from_secs(20));
        assert_eq!((config.server.max_connections, config.server.max_admissions), (1024, 512));
        assert_eq!(config.server.max_connection_age, Duration::from_secs(60));
        let names: Vec<_> = config.injectors.iter().map(|injector| injector.name.as_str()).collect();
        assert_eq!(names, ["k8s"]);
        assert_eq!(config.injectors[0].component, ComponentSource::Builtin("k8s".to_owned()));
        assert_eq!(config.injectors[0].limits, Limits::default());
        assert!(config.injectors[0].required);
    }
}

#[test]
fn reads_every_key() {
    let config = config(EVERY_KEY);
    assert_eq!(config.conventions.profile, ampoule_core::Profile::FlyteV2);
    assert_eq!(config.conventions.env_prefix, "X_");
    assert_eq!(config.conventions.mount_directory, "/secrets");
    assert_eq!(config.conventions.env_placement, ampoule_core::EnvPlacement::AppendIfAbsent);
    assert_eq!(config.conventions.init_container_position, ampoule_core::InitContainerPosition::First);
    assert_eq!(config.on_failure, OnFailure::Admit);
    assert_eq!((config.server.max_connections, config.server.max_admissions), (7, 5));
    assert_eq!(config.server.max_connection_age, Duration::from_secs(30));
    assert_eq!(config.server.shutdown_grace, Duration::ZERO);
    assert!(config.registration.enabled && config.registration.create && config.registration.ephemeral_containers);
    assert_eq!(config.registration.service_port, 8443);
    assert_eq!(config.registration.failure_policy, FailurePolicy::Ignore);
    assert_eq!(config.registration.timeout, Duration::from_secs(30));
    assert_eq!(config.registration.namespace_selector.as_ref().unwrap().match_labels["team"], "ml");
    assert_eq!(config.certificates.secret_name, "webhook.tls");
    assert_eq!(config.certificates.mode, CertificateMode::Cluster);
    assert_eq!(config.certificates.validity, Duration::from_secs(3600));
    assert_eq!(config.engine.cache_directory.as_deref(), Some(Path::new("/var/cache/ampoule")));
    assert!(config.trust.require_signature);
    assert_eq!(config.trust.key("team").unwrap().key.id(), "E7620F1842B4E81F");
    assert_eq!(config.registries.insecure, ["localhost:5000"]);
    let [injector, logged_in, shadow] = &config.injectors[..] else { panic!("three injectors") };
    assert!(shadow.shadow && config.policy[0].shadow);
    assert_eq!(injector.component, ComponentSource::File("/plugins/x.wasm".into()));
    assert_eq!(injector.settings, serde_json::json!({ "a": { "b": [1, "007"] } }));
    assert_eq!(injector.limits.memory, 32 << 20);
    assert_eq!(injector.limits.deadline, Duration::from_millis(50));
    assert_eq!(injector.limits.instances, 3);
    let HttpGrantConfig { hosts, ca_file } = injector.grants.http.as_ref().unwrap();
    let hosts: Vec<_> = hosts.iter().map(|host| host.destination.to_string()).collect();
    assert_eq!(hosts, ["secrets.example.com:443", "vault.vault.svc:8200", "[fd00::1]:443"]);
    assert_eq!(ca_file.as_deref(), Some(Path::new("/etc/ampoule/ca.crt")));
    let with_credential = |host: &&GrantedHost| host.credential.is_some();
    let hosts = &logged_in.grants.http.as_ref().unwrap().hosts;
    assert_eq!((hosts.len(), hosts.iter().filter(with_credential).count()), (9, 8));
    assert_eq!(config.config_map_credentials.len(), 1);
    assert!(config.config_map_credentials[0].ca_file.is_some());
    let secrets: Vec<_> = injector.grants.kubernetes_secrets.iter().map(ToString::to_string).collect();
    assert_eq!(secrets, ["team-a/db", "vault/other.token", "vault/token"]);
    assert_eq!(injector.grants.environment, ["STORE_TOKEN".to_owned()].into());
    assert!(injector.grants.clock && injector.grants.randomness);
    assert!(!injector.required);
    assert_eq!(config.registries.refresh, Duration::from_secs(5));
    assert!(config.config_maps && !Config::parse("", &BUILTINS).unwrap().config_maps);
    assert_eq!((config.config_map_limits.memory, config.config_map_limits.instances), (64 << 20, 32));
}

#[test]
fn the_effective_document_gives_the_same_configuration() {
    for yaml in ["", EVERY_KEY, "globalSecrets: { enabled: true }\ninjectors: []"] {
        let config = config(yaml);
        for document in [config.effective(), config.concise()] {
            let document = serde_saphyr::to_string(&document).unwrap();
            assert_eq!(Config::parse(&document, &BUILTINS).unwrap(), config, "{document}");
        }
    }
}

#[test]
fn wrong_types_are_refused_with_their_place() {
    for (yaml, expected) in [
        (
            "profile: flyte-v3",
            "line 1, column 10: profile: unknown variant `flyte-v3`, expected one of flyte-v1, flyte-v2, plain",
        ),
        ("onFailure: 7", "line 1, column 12: onFailure: unknown variant `7`, expected one of deny, admit"),
        (
            "conventions: { envPlacement: replace }",
            "line 1, column 30: conventions.envPlacement: unknown variant `replace`, expected one of append, prepend, prepend-if-absent",
        ),
        ("server: 7", "line 1, column 9: server: must be a mapping"),
        ("server: [", "line 1, column 9: server: must be a mapping"),
        (
            "server:\n  maxConnections: many",
            "line 2, column 19: server.maxConnections: must be a whole number and not negative",
        ),
        (
            "server:\n  shutdownDelaySeconds: -1",
            "line 2, column 25: server.shutdownDelaySeconds: must be a whole number and not negative",
        ),
        ("engine: { cacheDirectory: [a] }", "line 1, column 27: engine.cacheDirectory: must be text"),
        ("injectors: {}", "line 1, column 12: injectors: must be a list"),
        ("injectors: [{ settings: [] }]", "line 1, column 25: injectors[0].settings: must be a mapping"),
        ("injectors: [{ name: [a] }]", "line 1, column 21: injectors[0].name: must be text"),
        ("- profile", "line 1, column 1: must be a mapping"),
        ("server: {}\nserver: {}", "line 2, column 1: duplicate mapping key: server"),
        ("profile: flyte-v1\n---\nprofile: flyte-v2", "line 3, column 1: must be one document, not several"),
    ] {
        refuses(yaml, &format!("configuration, {expected}"));
    }
}

#[test]
fn invalid_values_are_refused() {
    let at = "not an IP address with a port, such as [::]:9443 or 0.0.0.0:9443";
    for (key, value) in [("listen", "localhost"), ("admin", ":1")] {
        refuses(
            &format!("server:\n  {key}: '{value}'"),
            &format!("configuration, line 2, column {}: server.{key}: {value:?} is {at}", 5 + key.len()),
        );
    }
    refuses(
        "server: { admin: \"127.0.0.1:9443\" }",
        "configuration: server.admin: port 9443 is already used by server.listen",
    );
    refuses(
        "server: { maxConnections: 0 }",
        "configuration: server.maxConnections: must be between 1 and 1000000, not 0",
    );
    refuses(
        "server: { maxConnectionAgeSeconds: 0 }",
        "configuration: server.maxConnectionAgeSeconds: must be between 1 and 86400, not 0",
    );
    refuses(
        "server: { maxAdmissions: 0 }",
        "configuration: server.maxAdmissions: must be between 1 and 1000000, not 0",
    );
    refuses(
        "server: { shutdownGraceSeconds: 20000 }",
        "configuration: server.shutdownGraceSeconds: must be between 0 and 3600, not 20000",
    );
    refuses("engine: { maxConcurrent: 0 }", "configuration: engine.maxConcurrent: must be between 1 and 10000, not 0");
    refuses(
        "engine: { maxConcurrent: 8 }\ninjectors: [{ name: a, component: file:/a.wasm }]",
        "configuration: engine.maxConcurrent: 8 is less than 16, the sum of injectors[].limits.instances",
    );
    refuses("engine: { guestThreads: 0 }", "configuration: engine.guestThreads: must be between 1 and 1024, not 0");
    refuses(
        "engine: { compileMemoryMiB: 127 }",
        "configuration: engine.compileMemoryMiB: must be between 128 and 131072, not 127",
    );
    refuses(
        "engine: { cacheDirectory: \"\" }",
        "configuration: engine.cacheDirectory: must not be empty; omit the key to disable the cache",
    );
    refuses(
        "conventions: { envPrefix: a=b }",
        "configuration: conventions.envPrefix: \"a=b\" cannot start the name of a variable; use letters, digits and _, \
         no digit first",
    );
    refuses(
        "globalSecrets: { enabled: true, envPrefix: \"\" }",
        "configuration: globalSecrets.envPrefix: must not be empty: pods could request every environment variable of the webhook",
    );
    refuses(
        "globalSecrets: { enabled: true, directory: secrets }",
        "configuration: globalSecrets.directory: \"secrets\" is not an absolute path",
    );
    refuses(
        "globalSecrets: { enabled: true, delivery: inline }",
        "configuration: globalSecrets.delivery: inline writes values into the pod's specification, which everyone with read access to the pod can read; use secret, or set acceptPlaintext: true",
    );
    refuses(
        "injectors: [{ name: a, component: \"file:/a\", delivery: reference, acceptPlaintext: true }]",
        "configuration: injectors[0].acceptPlaintext: has no effect without delivery: inline",
    );
    refuses(
        "delivery: { namespaces: [a, B] }",
        "configuration: delivery.namespaces[1]: \"B\" is not a valid name of a namespace",
    );
    for path in ["secrets", "/a/../b", "/a:b"] {
        refuses(
            &format!("conventions: {{ mountDirectory: \"{path}\" }}"),
            &format!("configuration: conventions.mountDirectory: {path:?} is not an absolute path without .. and :"),
        );
    }
}

#[test]
fn the_registration_follows_the_rules_of_the_api_server() {
    for (keys, expected) in [
        (
            "name: A",
            "name: \"A\" is not a valid object name; use a-z, 0-9, - and ., and start and end with a letter or digit",
        ),
        (
            "name: a..b",
            "name: \"a..b\" is not a valid object name; use a-z, 0-9, - and ., and start and end with a letter or digit",
        ),
        (
            "webhookName: a.b",
            "webhookName: \"a.b\" is not a valid webhook name; use at least three parts, such as secrets.ampoule.dev",
        ),
        (
            "serviceName: 1a",
            "serviceName: \"1a\" is not a valid Service name; use 1 to 63 of a-z, 0-9 and -, and start with a letter",
        ),
        ("servicePort: 65536", "servicePort: must be between 1 and 65535, not 65536"),
        ("timeoutSeconds: 31", "timeoutSeconds: must be between 1 and 30, not 31"),
        (
            "namespaceSelector: { matchExpressions: [{ key: a, operator: Exists, values: [b] }] }",
            "namespaceSelector.matchExpressions[0].values: has no effect with this operator",
        ),
    ] {
        refuses(&format!("registration: {{ {keys} }}"), &format!("configuration: registration.{expected}"));
    }
    refuses(
        "registration: { failurePolicy: fail }",
        "configuration, line 1, column 32: registration.failurePolicy: unknown variant `fail`, expected one of Fail, Ignore",
    );
}

#[test]
fn injectors_are_checked_one_by_one() {
    let with = |entry: &str| format!("injectors: [{{ name: ok, component: \"builtin:k8s\" }}, {{ {entry} }}]");
    let known = "use builtin:NAME, file:PATH, configmap:NAME/KEY or oci:REGISTRY/REPOSITORY:TAG";
    refuses(
        "injectors: []",
        "configuration: injectors: is empty, and globalSecrets.enabled is false: no secret could be found",
    );
    refuses(
        &with("name: global, component: \"builtin:k8s\""),
        "configuration: injectors[1].name: \"global\" is reserved for the webhook's own secrets (globalSecrets)",
    );
    refuses(
        &with("component: \"builtin:k8s\""),
        "configuration: injectors[1].name: \"\" is not a valid name; use 1 to 63 of a-z, 0-9 and -",
    );
    refuses(
        &with("name: K8s, component: \"builtin:k8s\""),
        "configuration: injectors[1].name: \"K8s\" is not a valid name; use 1 to 63 of a-z, 0-9 and -",
    );
    refuses(
        &with("name: ok, component: \"builtin:aws\""),
        "configuration: injectors[1].name: \"ok\" is already the name of an earlier injector",
    );
    for (component, reason) in [
        ("", format!("is missing; {known}")),
        ("k8s", format!("\"k8s\" is not a source of a component; {known}")),
        ("http://x", format!("\"http://x\" is not a source of a component; {known}")),
        ("builtin:vault", "\"vault\" is not a built-in plugin of this program (built-in plugins: k8s, aws)".to_owned()),
        ("file:", "file: requires a path after the colon".to_owned()),
        ("configmap:a", "\"a\" is not a ConfigMap with a key; use configmap:NAME/KEY".to_owned()),
        ("oci:x.io/a", "\"x.io/a\" has neither a tag nor a digest; append :TAG or @sha256:…".to_owned()),
    ] {
        refuses(
            &with(&format!("name: x, component: \"{component}\"")),
            &format!("configuration: injectors[1].component: {reason}"),
        );
    }
    for (key, value, most) in [
        ("memoryMiB", "0", "4096"),
        ("deadlineMillis", "0", "30000"),
        ("instances", "0", "10000"),
        ("queueWaitMillis", "30001", "30000"),
        ("componentMiB", "0", "1024"),
        ("outboundCalls", "1025", "1024"),
    ] {
        refuses(
            &with(&format!("name: x, component: \"builtin:k8s\", limits: {{ {key}: {value} }}")),
            &format!("configuration: injectors[1].limits.{key}: must be between 1 and {most}, not {value}"),
        );
    }
}

#[test]
fn certificates_have_a_validity_and_require_the_registration() {
    refuses(
        "certificates: { mode: cluster }",
        "configuration: certificates.mode: cluster requires registration.enabled: the API server must learn of each new CA",
    );
    refuses(
        "certificates: { validitySeconds: 29 }",
        "configuration: certificates.validitySeconds: must be between 30 and 315360000, not 29",
    );
    let config = Config::parse("", &BUILTINS).unwrap().certificates;
    assert_eq!((config.mode, config.validity.as_secs()), (CertificateMode::Folder, 90 * 24 * 60 * 60));
}

#[test]
fn the_endpoint_of_spans_is_a_complete_url_without_credentials() {
    assert_eq!(config("").tracing, None);
    let whole = "is not a complete URL of a collector, such as http://collector:4318/v1/traces";
    let credentials = "must contain neither credentials nor a query; put them as headers into tracing.headersFile";
    for (endpoint, reason) in [
        ("", whole),
        ("collector:4318", whole),
        ("http://collector:4318", whole),
        ("grpc://collector:4317/v1/traces", whole),
        ("/v1/traces", whole),
        ("http://user:word@collector:4318/v1/traces", credentials),
        ("http://collector:4318/v1/traces?token=x", credentials),
    ] {
        refuses(
            &format!("tracing: {{ endpoint: '{endpoint}' }}"),
            &format!("configuration: tracing.endpoint: {reason}"),
        );
    }
    refuses(
        "tracing: { endpoint: http://collector:4318/v1/traces, sampleRatio: 1.5 }",
        "configuration: tracing.sampleRatio: must be between 0 and 1, not 1.5",
    );
    refuses(
        "tracing: { sampleRatio: 0.5 }",
        "configuration: tracing.endpoint: is missing, and the section has other keys",
    );
}

#[test]
fn errors_name_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ampoule.yaml");
    let error = Config::load(Some(&path), &BUILTINS).unwrap_err().to_string();
    assert_eq!(error, format!("{}: cannot be read: No such file or directory (os error 2)", path.display()));
    std::fs::write(&path, "injectors: [{}]").unwrap();
    let error = Config::load(Some(&path), &BUILTINS).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: injectors[0].name: \"\" is not a valid name", path.display())), "{error}");
}

const EVERY_KEY: &str = "
profile: flyte-v2
conventions:
  envPrefix: X_
  mountDirectory: /secrets
  envPlacement: append
  initContainerPosition: first
onFailure: admit
globalSecrets:
  enabled: true
  envPrefix: MY_
  directory: /my/secrets
  delivery: inline
  acceptPlaintext: true
server:
  listen: 127.0.0.1:0
  admin: '[::1]:0'
  certDir: certs
  shutdownDelaySeconds: 1
  shutdownGraceSeconds: 0
  maxConnections: 7
  maxConnectionAgeSeconds: 30
  maxAdmissions: 5
  clients: { mode: certificate, caFile: /etc/ampoule/clients.crt, allowedNames: [api-server] }
  invalidation: { listen: '0.0.0.0:9444', acceptAnyone: true }
  console: { plainHttp: false }
registration:
  enabled: true
  create: true
  name: secrets
  webhookName: a.b.c
  serviceName: webhook
  servicePort: 8443
  failurePolicy: Ignore
  namespaceSelector:
    { matchLabels: { team: ml }, matchExpressions: [{ key: kubernetes.io/metadata.name, operator: NotIn, values: [kube-system] }] }
  timeoutSeconds: 30
  ephemeralContainers: true
certificates:
  mode: cluster
  secretName: webhook.tls
  copyToCertDir: true
  validitySeconds: 3600
engine: { cacheDirectory: /var/cache/ampoule, maxConcurrent: 8, guestThreads: 2, compileMemoryMiB: 1024, reuseAnswers: false }
plugins:
  configMaps: true
  configMapsBefore: [logged-in]
  configMapLimits: { memoryMiB: 64, deadlineMillis: 1000, instances: 32, queueWaitMillis: 900, componentMiB: 20, outboundCalls: 8 }
  configMapCredentials: [{ host: a.example, credential: { bearer: { file: /etc/ampoule/token } }, caFile: /etc/ca.crt }]
trust:
  requireSignature: true
  keys:
  - name: release
    publicKey: |
      -----BEGIN PUBLIC KEY-----
      MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAENptdY/l3nB0yqkXLBWkZWQwo6+cu
      OSWS1X9vPavpiQOoTTGC0xX57OojUadxF1cdQmrsiReWg2Wn4FneJfa8xw==
      -----END PUBLIC KEY-----
  - { name: team, publicKey: RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3 }
registries:
  credentialsFile: /etc/ampoule/registries/config.json
  caFile: /etc/ampoule/ca.crt
  insecure: ['localhost:5000']
  refreshSeconds: 5
delivery: { namespaces: [team-a], graceSeconds: 600, sweepIntervalSeconds: 30, pullSecrets: true }
policy:
  rules:
  - { name: own-groups, when: 'request.group != pod.namespace', action: warn, message: use your group, shadow: true }
audit: { log: false, annotations: false }
tracing:
  endpoint: https://collector.example.com:4318/v1/traces
  sampleRatio: 0.25
  headersFile: /etc/ampoule/tracing/headers
  caFile: /etc/ampoule/ca.crt
injectors:
- name: mine
  component: file:/plugins/x.wasm
  sha256: 6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b
  signedBy: team
  settings: { a: { b: [1, '007'] } }
  limits: { memoryMiB: 32, deadlineMillis: 50, instances: 3, queueWaitMillis: 20, componentMiB: 2, outboundCalls: 64 }
  grants:
    http: { hosts: [Secrets.example.com, 'vault.vault.svc:8200', '[fd00::1]:443'], caFile: /etc/ampoule/ca.crt }
    kubernetesSecrets: [{ namespace: vault, names: [token, other.token] }, { namespace: team-a, names: [db] }]
    environment: [STORE_TOKEN]
    clock: true
    randomness: true
  delivery: inline
  acceptPlaintext: true
  cache: { ttlSeconds: 60, maxStaleSeconds: 600, invalidation: true }
  required: false
- name: logged-in
  component: builtin:k8s
  limits: { instances: 1 }
  grants:
    http:
      hosts:
      - plain.example
      - { host: bearer.example, credential: { bearer: { secret: { namespace: vault, name: token, key: value } } } }
      - { host: basic.example, credential: { basic: { username: ampoule, password: { file: /etc/ampoule/password } } } }
      - { host: header.example, credential: { header: { name: X-Api-Key, prefix: 'Key ', value: { environment: API_KEY } } } }
      - host: secretsmanager.eu-central-1.amazonaws.com
        credential:
          awsSigV4: { service: secretsmanager, region: eu-central-1, roleArn: 'arn:aws:iam::123456789012:role/ampoule',
            stsEndpoint: 'https://sts.example', metadataEndpoint: 'http://169.254.169.254' }
      - host: secretmanager.googleapis.com
        credential: { gcp: { scopes: ['https://www.googleapis.com/auth/cloud-platform'], audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k', tokenFile: /t, tokenUrl: 'https://sts', metadataEndpoint: http://metadata } }
      - host: my.vault.azure.net
        credential:
          azure: { scope: https://vault.azure.net/.default, clientId: c, tenantId: t, authorityHost: 'https://login', metadataEndpoint: http://imds }
      - host: vault.vault.svc:8200
        credential:
          vault: { address: 'https://vault.vault.svc:8200', role: r, path: jwt/k8s, namespace: team, tokenFile: /token }
      - host: oauth2.example
        credential:
          oauth2ClientCredentials: { tokenUrl: 'https://login.example/token', clientId: ampoule,
            clientSecret: { file: /etc/ampoule/client }, scopes: [read] }
- { name: next, component: builtin:k8s, shadow: true, required: false, limits: { instances: 1 } }
";
