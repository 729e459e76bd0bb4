//! Section `edits`: defaults by source, the ceiling for ConfigMaps, and the whole message of every
//! error.
//!
//! Permissions are compared as the lists of the effective configuration.

use ampoule_core::EditKind;

use crate::{Config, ConfigMapInjector};

fn names(config: &Config, kind: EditKind) -> String {
    let names = config.injectors[0].edits.names(kind).iter().map(ToString::to_string);
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn only_a_built_in_plugin_may_add_containers_and_annotations_by_default() {
    for (component, expected) in [
        ("builtin:k8s", ["*", "secret memory", "*", "", "*", "*", "ampoule-promise"]),
        ("file:/x.wasm", ["*", "secret memory", "/secrets /secrets/*", "", "", "", ""]),
    ] {
        let text = format!(
            "conventions: {{ mountDirectory: /secrets }}\ninjectors: [{{ name: x, component: \"{component}\" }}]"
        );
        let config = Config::parse(&text, &["k8s"]).unwrap();
        assert_eq!(EditKind::ALL.map(|kind| names(&config, kind)), expected, "{component}");
        let edits = config.concise()["injectors"][0].get("edits").cloned();
        assert_eq!(edits, None, "the default is left out of the concise document");
    }
}

#[test]
fn a_list_replaces_the_default_of_its_kind_only() {
    let text = "injectors: [{ name: x, component: file:/x, edits: { images: [ghcr.io/a/*], variables: [] } }]";
    let config = Config::parse(text, &[]).unwrap();
    let expected = ["", "secret memory", "/etc/flyte/secrets /etc/flyte/secrets/*", "", "ghcr.io/a/*", "", ""];
    assert_eq!(EditKind::ALL.map(|kind| names(&config, kind)), expected);
}

#[test]
fn invalid_names_are_refused() {
    let long = "x".repeat(513);
    let many = vec!["x"; 65].join(", ");
    for (edits, expected) in [
        ("variables: ['']", "edits.variables[0]: is empty; `*` permits every name"),
        ("variables: ['A*B']", "edits.variables[0]: \"A*B\" has a `*` that is not at its end"),
        ("mounts: [/a, b]", "edits.mounts[1]: \"b\" is not an absolute path"),
        ("mounts: [/a*]", "edits.mounts[0]: \"/a*\" has a `*` that does not follow `/`"),
        ("images: [ghcr.io*]", "edits.images[0]: \"ghcr.io*\" has a `*` that does not follow `/`, `:` or `@`"),
        (&format!("annotations: [{long}]"), "edits.annotations[0]: has 513 bytes; the limit is 512"),
        (&format!("annotations: [{many}]"), "edits.annotations: has 65 names; the limit is 64"),
    ] {
        let text = format!("injectors: [{{ name: x, component: file:/x, edits: {{ {edits} }} }}]");
        assert_eq!(
            Config::parse(&text, &[]).unwrap_err().to_string(),
            format!("configuration: injectors[0].{expected}")
        );
    }
    let text = "plugins: { configMapEdits: { images: ['**'] } }";
    let expected = "configuration: plugins.configMapEdits.images[0]: \"**\" has a `*` that is not at its end";
    assert_eq!(Config::parse(text, &["k8s"]).unwrap_err().to_string(), expected);
}

#[test]
fn the_ceiling_limits_the_plugins_of_config_maps() {
    let ceiling = "plugins: { configMaps: true, configMapEdits: { images: [ghcr.io/team/*], mounts: [/etc/x/*] } }";
    for (config, document, expected) in [
        ("", "", Ok(["*", "secret memory", "/etc/flyte/secrets /etc/flyte/secrets/*", "", "", "", ""])),
        (
            "",
            "component: builtin:k8s",
            Ok(["*", "secret memory", "/etc/flyte/secrets /etc/flyte/secrets/*", "", "", "", ""]),
        ),
        (ceiling, "component: builtin:k8s", Ok(["*", "secret memory", "/etc/x/*", "", "ghcr.io/team/*", "", ""])),
        (
            ceiling,
            "edits: { images: ['ghcr.io/team/a:1'] }",
            Ok(["*", "secret memory", "", "", "ghcr.io/team/a:1", "", ""]),
        ),
        (
            ceiling,
            "edits: { images: ['*'] }",
            Err("edits.images: \"*\" is not permitted to injectors of ConfigMaps (plugins.configMapEdits.images)"),
        ),
        (
            "",
            "edits: { imagePullSecrets: [a] }",
            Err("edits.imagePullSecrets: \"a\" is not permitted to injectors of ConfigMaps \
                 (plugins.configMapEdits.imagePullSecrets)"),
        ),
    ] {
        let config = Config::parse(config, &["k8s"]).unwrap();
        let parsed = ConfigMapInjector::parse("m", document, &["k8s"], &config);
        let parsed = parsed.map_err(|error| error.to_string()).map(|injector| {
            let config = Config { injectors: vec![injector.config], ..config };
            EditKind::ALL.map(|kind| names(&config, kind))
        });
        let expected = expected
            .map(|names| names.map(str::to_owned))
            .map_err(|error| format!("ConfigMap m: injector.yaml: {error}"));
        assert_eq!(parsed, expected, "{document}");
    }
}

#[test]
fn a_config_map_cannot_name_files_precede_the_configuration_or_configure_built_in_plugins() {
    let settings = "component: builtin:k8s\nsettings: { image: a }";
    let signed = "trust: { requireSignature: true }";
    for (config, document, expected) in [
        (
            "",
            "component: file:/etc/passwd",
            Err("component: file: is not permitted in a ConfigMap: it names a file of the webhook's container; use \
                 configmap: or oci:"),
        ),
        (
            "",
            "order: -1",
            Err(
                "order: -1 is negative, but the injectors of the configuration are before those of ConfigMaps; an admin \
                 must list the injectors that a ConfigMap may precede in plugins.configMapsBefore",
            ),
        ),
        ("plugins: { configMapsBefore: [k8s] }", "order: -1", Ok(())),
        ("", settings, Ok(())),
        (
            signed,
            settings,
            Err("settings: no signature covers the settings of a built-in plugin, and trust.requireSignature is true \
                 (plugins.configMapBuiltinSettings permits them)"),
        ),
        (signed, "component: builtin:k8s", Ok(())),
        ("trust: { requireSignature: true }\nplugins: { configMapBuiltinSettings: true }", settings, Ok(())),
    ] {
        let config = Config::parse(config, &["k8s"]).unwrap();
        let parsed = ConfigMapInjector::parse("m", document, &["k8s"], &config);
        let expected = expected.map_err(|error| format!("ConfigMap m: injector.yaml: {error}"));
        assert_eq!(parsed.map(|_| ()).map_err(|error| error.to_string()), expected, "{document}");
    }
}
