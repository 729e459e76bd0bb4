//! `ampoule export-policy`: prints a `MutatingAdmissionPolicy` that does the pure references of
//! `builtin:k8s` in the API server, without a call of the webhook.
//!
//! The pipeline of the configuration answers a request ([`probe`]), and the policy repeats this
//! answer for other names ([`policy`]). So the policy follows the profile and the settings.

mod policy;
mod probe;

use std::process::ExitCode;

use ampoule_config::{ComponentSource, Config, ConfigSource};
use anyhow::ensure;

use self::{policy::AdmissionPolicy, probe::VariableAnswer};
use super::{
    output,
    setup::{load_config, load_pipeline},
};
use crate::args::ExportPolicyArgs;
use ampoule_components::builtins::Builtins;

/// The plugin whose answers are known to depend only on the names of a request.
const REFERENCES: &str = "k8s";

pub(crate) fn export_policy(args: &ExportPolicyArgs, builtins: Builtins) -> anyhow::Result<ExitCode> {
    let config = load_config(&ConfigSource::from(args.config.clone()), builtins)?;
    let obstacles = obstacles(&config);
    ensure!(
        obstacles.is_empty(),
        "a policy of the API server cannot replace the webhook with this configuration:\n  {}",
        obstacles.join("\n  ")
    );
    let (runtime, loaded, _) = load_pipeline(&args.config, builtins)?;
    let answer = runtime.block_on(VariableAnswer::probe(&loaded.pipeline, config.conventions.env_placement))?;
    let policy = AdmissionPolicy { config: &config, answer: &answer, version: args.api_version, name: &args.name };
    output::print(&policy.text(&args.webhook_namespace)?)?;
    Ok(ExitCode::SUCCESS)
}

/// What the webhook would do before or instead of the first injector.
fn obstacles(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    if config.global_secrets.is_some() {
        found.push("globalSecrets.enabled: the webhook looks for values of its own first; set it to false".to_owned());
    }
    if !config.policy.is_empty() {
        found.push("policy.rules: the rules would not apply to the pods of the policy; remove them".to_owned());
    }
    match config.injectors.iter().find(|injector| !injector.shadow) {
        Some(first) if first.component == ComponentSource::Builtin(REFERENCES.to_owned()) => {
            if config.config_maps && config.config_maps_before.contains(&first.name) {
                let name = &first.name;
                found.push(format!("plugins.configMapsBefore: a ConfigMap may add a plugin before {name}; remove it"));
            }
        }
        Some(first) => {
            let name = &first.name;
            found.push(format!("injectors: {name} is asked first, and is not builtin:{REFERENCES}; move {REFERENCES}"));
        }
        None => found.push(format!("injectors: none is configured; add builtin:{REFERENCES}")),
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{args::Args, args::Command};

    fn exported(config: &str, words: &[&str]) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), config).unwrap();
        let words = [&["ampoule", "export-policy", "--config"], &[path(file.path())][..], words].concat();
        let Command::ExportPolicy(args) = Args::parse_words(words.into_iter().map(Into::into)).unwrap().command else {
            panic!("the command must be export-policy")
        };
        let builtins = ampoule_plugin_bundle::COMPONENTS;
        let config = load_config(&ConfigSource::from(args.config.clone()), builtins).unwrap();
        let obstacles = obstacles(&config);
        if !obstacles.is_empty() {
            return Err(obstacles.join("\n"));
        }
        let (runtime, loaded, _) = load_pipeline(&args.config, builtins).unwrap();
        let answer = runtime
            .block_on(VariableAnswer::probe(&loaded.pipeline, config.conventions.env_placement))
            .map_err(|error| error.to_string())?;
        let policy = AdmissionPolicy { config: &config, answer: &answer, version: args.api_version, name: &args.name };
        Ok(policy.text(&args.webhook_namespace).unwrap())
    }

    fn path(path: &Path) -> &str {
        path.to_str().unwrap()
    }

    #[test]
    fn a_policy_repeats_the_answer_of_the_configured_plugin() {
        let text = exported("globalSecrets: { enabled: false }", &[]).unwrap();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn the_policy_has_the_version_the_name_and_the_namespaces_of_the_command_line() {
        let config = "globalSecrets: { enabled: false }\nprofile: flyte-v2\n\
                      registration: { failurePolicy: Ignore, namespaceSelector: { matchLabels: { team: a } } }";
        let text = exported(config, &["--api-version", "v1beta1", "--name", "references"]).unwrap();
        for part in [
            "apiVersion: admissionregistration.k8s.io/v1beta1\n",
            "  name: references\n",
            "  policyName: references\n",
            "failurePolicy: Ignore\n",
            "        team: a\n",
            "'_UNION_'",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn without_flyte_the_policy_leaves_names_that_kubernetes_refuses_to_the_webhook() {
        for (profile, is_checked) in [("plain", true), ("flyte-v1", false), ("flyte-v2", false)] {
            let text = exported(&format!("globalSecrets: {{ enabled: false }}\nprofile: {profile}"), &[]).unwrap();
            assert_eq!(text.contains("p[0].matches('^[a-z0-9]("), is_checked, "{profile}");
        }
    }

    #[test]
    fn a_configuration_that_does_more_than_references_is_refused_with_the_keys() {
        let vault = "globalSecrets: { enabled: false }\ninjectors: [{ name: vault, component: 'builtin:vault' }]";
        let hidden = "globalSecrets: { enabled: false }\ninjectors: [{ name: k8s, component: 'builtin:k8s' }]\n\
                      plugins: { configMaps: true, configMapsBefore: [k8s] }";
        let rules = "globalSecrets: { enabled: true }\npolicy: { rules: [{ name: a, when: 'true', message: m }] }";
        for (config, expected) in [
            (vault, "injectors: vault is asked first, and is not builtin:k8s; move k8s"),
            (hidden, "plugins.configMapsBefore: a ConfigMap may add a plugin before k8s; remove it"),
            (
                rules,
                "globalSecrets.enabled: the webhook looks for values of its own first; set it to false\n\
                 policy.rules: the rules would not apply to the pods of the policy; remove them",
            ),
        ] {
            assert_eq!(exported(config, &[]).unwrap_err(), expected);
        }
    }
}
