//! The JSON Schema accepts what the reader accepts; the reference page and the chart's schema are
//! generated from it.

use serde_json::{Value, json};

use super::{BUILTINS, EVERY_KEY, reference};
use crate::{
    Config, changed_fixed_keys,
    schema::{self, json_schema},
};

/// Whether the schema accepts the value. Covers the keywords that the schema has.
fn accepts(root: &Value, schema: &Value, value: &Value) -> bool {
    let mut keywords = schema.as_object().into_iter().flatten();
    keywords.all(|(keyword, argument)| accepts_keyword(root, schema, keyword, argument, value))
}

fn accepts_keyword(root: &Value, schema: &Value, keyword: &str, argument: &Value, value: &Value) -> bool {
    let any = |schemas: &Value| schemas.as_array().unwrap().iter().any(|schema| accepts(root, schema, value));
    match keyword {
        "$schema" | "$defs" | "title" | "description" | "default" | "x-takes-effect" => true,
        "properties" => argument.is_object(),
        "$ref" => accepts(root, root.pointer(argument.as_str().unwrap().trim_start_matches('#')).unwrap(), value),
        "anyOf" | "oneOf" => any(argument),
        "const" => value == argument,
        "enum" => argument.as_array().unwrap().contains(value),
        "type" if argument.is_array() => argument.as_array().unwrap().iter().any(|name| has_type(value, name)),
        "type" => has_type(value, argument),
        "minimum" => value.as_f64().is_none_or(|number| number >= argument.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|number| number <= argument.as_f64().unwrap()),
        "items" => value.as_array().into_iter().flatten().all(|item| accepts(root, argument, item)),
        "required" => value.as_object().is_none_or(|entries| {
            argument.as_array().unwrap().iter().all(|key| entries.contains_key(key.as_str().unwrap()))
        }),
        "additionalProperties" => value.as_object().into_iter().flatten().all(|(key, value)| {
            let known = schema["properties"].get(key);
            known.map_or_else(
                || argument != false && (argument == true || accepts(root, argument, value)),
                |known| accepts(root, known, value),
            )
        }),
        other => panic!("the test does not know the keyword {other}"),
    }
}

fn has_type(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("unknown type {other}"),
    }
}

fn is_valid(document: &Value) -> bool {
    let schema = json_schema();
    accepts(&schema, &schema, document)
}

#[test]
fn the_schema_accepts_what_the_reader_accepts() {
    for yaml in [
        "{}",
        "server:\nengine:\nconventions:\ninjectors:\n",
        EVERY_KEY,
        "globalSecrets: { enabled: true }\ninjectors: []",
        "server: { clients: { mode: requestHeader, allowedUsers: [a, b] } }",
        "server: { clients: }",
        "injectors: [{ name: x, component: file:/x, grants: { http: , environment: } }]",
        "trust: { keys: }\nregistries: { insecure: , refreshSeconds: 5 }",
        "registration: { namespaceSelector: { matchLabels: , matchExpressions: [{ key: a, operator: Exists, values: }] } }",
    ] {
        let document = serde_saphyr::from_str(yaml).unwrap();
        let config = Config::parse(yaml, &BUILTINS).unwrap();
        for document in [document, config.effective(), config.concise()] {
            assert!(is_valid(&document), "{document:#}");
        }
    }
}

#[test]
fn the_schema_refuses_what_the_reader_refuses() {
    for yaml in [
        "plugin: {}",
        "server: { tls: {} }",
        "injectors: [{ name: k8s, component: builtin:k8s, limits: { memoryMb: 3 } }]",
        "injectors: [{ name: k8s, component: builtin:k8s, grants: { network: true } }]",
        "trust: { keys: [{ key: x }] }",
        "registration: { namespaceSelector: { matchLabel: {} } }",
        "profile: flyte-v3",
        "onFailure: 7",
        "server: 7",
        "server: { maxConnections: many }",
        "server: { clients: { mode: request-header } }",
        "server: { maxConnections: 0 }",
        "server: { shutdownGraceSeconds: 20000 }",
        "server: { shutdownDelaySeconds: -1 }",
        "engine: { guestThreads: 0 }",
        "registration: { servicePort: 65536, failurePolicy: Fail }",
        "registration: { failurePolicy: fail }",
        "tracing: { endpoint: http://collector:4318/v1/traces, sampleRatio: 1.5 }",
        "injectors: [{ name: x, component: builtin:k8s, limits: { queueWaitMillis: 30001 } }]",
        "injectors: {}",
    ] {
        assert!(Config::parse(yaml, &BUILTINS).is_err(), "{yaml}");
        assert!(!is_valid(&serde_saphyr::from_str(yaml).unwrap()), "{yaml}");
    }
}

#[test]
fn every_key_has_a_description_and_every_number_has_bounds() {
    let root = json_schema();
    let definitions = root["$defs"].as_object().unwrap().values().chain([&root]);
    for (key, property) in definitions.filter_map(|part| part["properties"].as_object()).flatten() {
        let definition = schema::reference(property).map_or(&Value::Null, |name| &root["$defs"][name]);
        assert!(property["description"].is_string() || definition["description"].is_string(), "{key}");
        let is_number =
            ["integer", "number"].iter().any(|name| property["type"] == *name || property["type"][0] == *name);
        assert!(!is_number || (property["minimum"].is_number() && property["maximum"].is_number()), "{key}");
    }
}

#[test]
fn the_schema_has_the_defaults_of_the_reader() {
    let schema = json_schema();
    let default = |pointer: &str| schema.pointer(pointer).unwrap()["default"].clone();
    assert_eq!(default("/properties/profile"), "flyte-v1");
    assert_eq!(default("/$defs/ServerConfig/properties/listen"), "[::]:9443");
    assert_eq!(default("/$defs/LimitsSection/properties/memoryMiB"), 16);
    assert_eq!(default("/$defs/PluginsSection/properties/configMapLimits")["memoryMiB"], 128);
    assert_eq!(default("/properties/injectors"), Value::Null);
}

#[test]
fn a_number_that_is_not_finite_is_refused() {
    let error = Config::parse("tracing: { endpoint: http://a/b, sampleRatio: .nan }", &BUILTINS).unwrap_err();
    assert_eq!(error.to_string(), "configuration: tracing.sampleRatio: must be between 0 and 1, not NaN or infinity");
}

#[test]
fn names_the_changed_keys_that_need_a_restart() {
    let check = |before: &str, after: &str, expected: &[&str]| {
        let [before, after] = [before, after].map(|yaml| Config::parse(yaml, &BUILTINS).unwrap());
        assert_eq!(changed_fixed_keys(&before, &after), expected);
    };
    check("", "", &[]);
    check("", "server: { listen: '[::]:9443' }", &[]);
    check(
        "",
        "profile: flyte-v2\nonFailure: admit\nconventions: { envPrefix: X_ }\nglobalSecrets: { enabled: false }\n\
         engine: { maxConcurrent: 99 }\ninjectors: [{ name: other, component: builtin:k8s }]",
        &[],
    );
    check(
        "server: { listen: 0.0.0.0:1, certDir: /a }",
        "server: { certDir: /b }",
        &["server.certDir", "server.listen"],
    );
    check(
        "",
        "server: { admin: 0.0.0.0:1, shutdownDelaySeconds: 1, shutdownGraceSeconds: 1, maxConnections: 1 }",
        &["server.admin", "server.maxConnections", "server.shutdownDelaySeconds", "server.shutdownGraceSeconds"],
    );
    check(
        "registration: { enabled: true }",
        "registration: { enabled: false, namespaceSelector: {}, timeoutSeconds: 3 }",
        &["registration.enabled", "registration.namespaceSelector", "registration.timeoutSeconds"],
    );
    check("", "certificates: { validitySeconds: 3600 }", &["certificates.validitySeconds"]);
    let on = "tracing: { endpoint: 'http://collector:4318/v1/traces' }";
    check("", on, &["tracing.endpoint", "tracing.sampleRatio"]);
    check(on, "", &["tracing.endpoint", "tracing.sampleRatio"]);
}

#[test]
fn the_reference_page_is_generated() {
    expect_file("docs/src/configuration.md", |_| reference::page());
}

#[test]
fn the_schema_of_the_chart_has_the_definitions_of_the_configuration() {
    expect_file("deploy/chart/values.schema.json", |chart| {
        let mut config = json_schema();
        let mut definitions = config["$defs"].take();
        for key in ["$schema", "$defs"] {
            config.as_object_mut().unwrap().remove(key);
        }
        definitions["Config"] = config;
        let definitions = serde_json::to_string_pretty(&json!({ "$defs": definitions })).unwrap();
        // The generated part is the last of the file.
        let (own, _) = chart.split_once("\n  \"$defs\": ").expect("the chart's schema has $defs");
        format!("{own}\n{}\n", definitions.trim_start_matches("{\n"))
    });
}

#[test]
fn the_chart_refers_to_the_definitions() {
    let chart = std::fs::read_to_string(path("deploy/chart/values.schema.json")).unwrap();
    let chart: Value = serde_json::from_str(&chart).unwrap();
    assert_eq!(chart["properties"]["config"], json!({ "$ref": "#/$defs/Config" }));
}

fn path(file: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file)
}

/// Compares a file with its generated text, or writes it if `cargo xtask bless` runs the test.
#[track_caller]
fn expect_file(file: &str, generate: impl Fn(&str) -> String) {
    let path = path(file);
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let expected = generate(&written);
    if std::env::var_os("INSTA_UPDATE").is_some_and(|mode| mode == "always") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, expected).unwrap();
        return;
    }
    assert!(
        written == expected,
        "{file} differs from its generated text; run `cargo xtask bless` and review the change"
    );
}
