//! [`AdmissionPolicy`]: the `MutatingAdmissionPolicy` and its binding.
//!
//! CEL has no reader for YAML, so the policy accepts one form of the annotation, in which every
//! entry is one flow mapping: the form of the book and of `ampoule request`. Everything else is
//! left to the webhook, which the comments at the top list.

use ampoule_config::{Config, FailurePolicy};
use ampoule_core::{EnvPlacement, Profile, TRIGGER_LABELS};
use serde_json::{Value, json};

use super::probe::{AnsweredVariable, VariableAnswer, VariableName, VariableSource};
use crate::{args::PolicyVersion, commands::output};

/// Requests of a pod that the policy serves. A comprehension over a pair of indexes is their
/// square, and the API server limits the cost.
const MOST_REQUESTS: usize = 16;
/// Containers of a list of a pod that the policy serves.
const MOST_CONTAINERS: usize = 32;

/// A value that YAML reads as text: a word that begins with a letter, or quotes.
const TEXT: &str = r#"(?:[A-Za-z_][A-Za-z0-9._-]*|"[A-Za-z0-9._-]*")"#;
/// Words that YAML can read as another type than text.
const OTHER_TYPES: &str = r": +(?i:true|false|null|yes|no|on|off|y|n) *[,}]";
/// The pattern of the name of a Secret.
const SECRET_NAME: &str = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$";
/// A Flyte's request, which is encoded.
const FLYTE: &str = "flyte.secrets/s";

/// A policy for the answers of a plugin.
pub(super) struct AdmissionPolicy<'a> {
    pub(super) config: &'a Config,
    pub(super) answer: &'a VariableAnswer,
    pub(super) version: PolicyVersion,
    pub(super) name: &'a str,
}

// === impl AdmissionPolicy ===

impl AdmissionPolicy<'_> {
    /// Returns both objects as YAML, after comments with the limits of the policy.
    pub(super) fn text(&self, webhook_namespace: &str) -> anyhow::Result<String> {
        let (policy, binding) = (output::yaml(&self.policy(webhook_namespace))?, output::yaml(&self.binding())?);
        Ok(format!("{}{policy}---\n{binding}", limits()))
    }

    fn api_version(&self) -> String {
        format!("admissionregistration.k8s.io/{}", self.version.as_str())
    }

    fn binding(&self) -> Value {
        json!({
            "apiVersion": self.api_version(),
            "kind": "MutatingAdmissionPolicyBinding",
            "metadata": { "name": self.name },
            "spec": { "policyName": self.name },
        })
    }

    fn policy(&self, webhook_namespace: &str) -> Value {
        let registration = &self.config.registration;
        let failure_policy = match registration.failure_policy {
            FailurePolicy::Fail => "Fail",
            FailurePolicy::Ignore => "Ignore",
        };
        let variable = |name: &str, expression: String| json!({ "name": name, "expression": expression });
        json!({
            "apiVersion": self.api_version(),
            "kind": "MutatingAdmissionPolicy",
            "metadata": { "name": self.name },
            "spec": {
                "matchConstraints": {
                    "namespaceSelector": registration.selected_namespaces(webhook_namespace),
                    "resourceRules": [{
                        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
                    }],
                },
                "matchConditions": [
                    { "name": "has-label", "expression": has_label() },
                    { "name": "has-references-only", "expression": has_references_only() },
                ],
                "variables": [
                    variable("entries", entries()),
                    variable("range", range(MOST_REQUESTS * self.answer.variables.len().max(1))),
                    variable("all", self.all()),
                    variable("is_expressible", self.is_expressible()),
                    variable("unique", self.unique()),
                    variable("added", self.added()),
                ],
                "mutations": [{
                    "patchType": "JSONPatch",
                    "jsonPatch": { "expression": self.patch() },
                }],
                "failurePolicy": failure_policy,
                "reinvocationPolicy": "IfNeeded",
            },
        })
    }

    /// The variables of all entries, in the order of the injections.
    fn all(&self) -> String {
        let count = self.answer.variables.len();
        let mut text = format!("variables.range.filter(n, n < variables.entries.size() * {count}).map(n, ");
        let entry = format!("variables.entries[n / {count}]");
        for (i, variable) in self.answer.variables.iter().enumerate() {
            let value = variable_of(variable, &entry);
            if i + 1 < count {
                text += &format!("n % {count} == {i} ? {value} : ");
            } else {
                text += &value;
            }
        }
        text + ")"
    }

    /// Whether the webhook would accept the requests.
    fn is_expressible(&self) -> String {
        // API servers accept a variable of the request that begins with a digit since 1.32.
        let names = "variables.entries.all(p, p[2].matches('^[A-Z_][A-Z0-9_]*$') || (p[3] != '' && \
                     p[3].matches('^[A-Za-z_.-]')))";
        let agree = "variables.all.all(a, variables.all.all(b, a.name != b.name || a == b))";
        // Without Flyte, the plugin refuses names that Kubernetes refuses.
        let exist = match self.config.conventions.profile {
            Profile::Plain => format!(
                "variables.entries.all(p, p[0].matches('{SECRET_NAME}') && p[0].size() <= 253 && \
                 !p[1].matches('^([.]$|[.][.])') && p[1].size() <= 253) && "
            ),
            Profile::FlyteV1 | Profile::FlyteV2 => String::new(),
        };
        format!("{exist}{names} && {agree}")
    }

    /// The indexes of the variables without repetitions.
    fn unique(&self) -> String {
        let is_last = self.config.conventions.env_placement == EnvPlacement::ReplaceAndPrepend;
        // The last of equal names stays if each edit moves its variable to the front.
        let repeats = if is_last { "m > n" } else { "m < n" };
        format!(
            "variables.range.filter(n, n < variables.all.size() && !variables.range.exists(m, m < \
             variables.all.size() && {repeats} && variables.all[m].name == variables.all[n].name))"
        )
    }

    /// The variables without repetitions, in their order in a container.
    fn added(&self) -> String {
        let indexes = match self.config.conventions.env_placement {
            EnvPlacement::AppendIfAbsent => "variables.unique",
            // Each variable is in front of the earlier ones.
            EnvPlacement::ReplaceAndPrepend | EnvPlacement::PrependIfAbsent => {
                "variables.range.filter(n, n < variables.unique.size()).map(n, \
                 variables.unique[variables.unique.size() - 1 - n])"
            }
        };
        format!("{indexes}.map(n, variables.all[n])")
    }

    fn patch(&self) -> String {
        let list = |key: &str| {
            let container = format!("object.spec.{key}[i]");
            let value = match self.config.conventions.env_placement {
                EnvPlacement::AppendIfAbsent => format!(
                    "has({container}.env) ? dyn({container}.env) + variables.added.filter(a, !{container}.env.exists(e, \
                     e.name == a.name)) : dyn(variables.added)"
                ),
                EnvPlacement::PrependIfAbsent => format!(
                    "has({container}.env) ? dyn(variables.added.filter(a, !{container}.env.exists(e, e.name == \
                     a.name))) + {container}.env : dyn(variables.added)"
                ),
                EnvPlacement::ReplaceAndPrepend => format!(
                    "has({container}.env) ? dyn(variables.added) + {container}.env.filter(e, \
                     !variables.added.exists(a, a.name == e.name)) : dyn(variables.added)"
                ),
            };
            format!(
                "variables.range.filter(i, i < object.spec.{key}.size()).map(i, JSONPatch{{op: 'add', path: \
                 '/spec/{key}/' + string(i) + '/env', value: {value}}})"
            )
        };
        format!(
            "variables.is_expressible ? {} + (has(object.spec.initContainers) ? {} : []) : []",
            list("containers"),
            list("initContainers")
        )
    }
}

/// What the policy leaves to the webhook.
fn limits() -> String {
    let most = [
        "Made by `ampoule export-policy`. Requires Kubernetes 1.36, or an earlier one with the feature switched on.",
        "",
        "The API server itself gives these pods their variables, as the webhook with the same configuration would:",
        "  an annotation ampoule.dev/secrets in which every entry is one flow mapping with the fields group, key and",
        "  env, such as `- { group: db, key: password }` or `[{ group: db, key: password, env: DB_PASSWORD }]`.",
        "",
        "CEL cannot express the rest. The webhook serves these pods; without it they start without their secrets:",
        "  files (the name of their volume is a hash or base32), and every other field of an entry",
        "  other YAML: entries in block style, single quotes, escapes, anchors",
        "  Flyte's annotations flyte.secrets/s<N>, which are encoded",
        "  references in the values of variables (secret://GROUP/KEY)",
        "  names that Kubernetes does not accept for a Secret or a key, in the profile plain",
        "  fetched values, and pods whose requests contradict each other: a policy cannot refuse a pod",
    ];
    let mut text: String = most.iter().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect();
    text += &format!("#   more than {MOST_REQUESTS} requests, or {MOST_CONTAINERS} containers in a list\n");
    text += "#   audit trail, metrics and warnings\n#\n";
    text += "# A registered webhook reviews the pods of the policy as well, and changes nothing.\n";
    text
}

fn has_label() -> String {
    let labels = TRIGGER_LABELS.map(|label| format!("object.metadata.labels[?'{label}'].orValue('') == 'true'"));
    format!("has(object.metadata.labels) && ({})", labels.join(" || "))
}

/// Whether every request of the pod is in the form that the policy reads.
fn has_references_only() -> String {
    let field = format!("(?:group|key|env): +{TEXT}");
    let entry = format!(r"\{{ *{field}(?: *, *{field})* *,? *\}}");
    let comment = r" *(?: #[^\n]*)?";
    let lines = format!(r"(?:- +{entry}{comment}\n+)*- +{entry}{comment}\n*");
    let list = format!(r"\[ *{entry}(?: *, *{entry})* *,? *\]\n*");
    let annotation = "object.metadata.annotations['ampoule.dev/secrets']";
    let entries = format!(r"{annotation}.findAll(r'\{{[^{{}}]*\}}')");
    // Plain text of a comment could look like an entry.
    [
        "has(object.metadata.annotations)".to_owned(),
        "'ampoule.dev/secrets' in object.metadata.annotations".to_owned(),
        "!('kubernetes.io/config.mirror' in object.metadata.annotations)".to_owned(),
        format!("!object.metadata.annotations.exists(k, k.startsWith('{FLYTE}'))"),
        format!("{annotation}.matches(r'^(?:{lines}|{list})$')"),
        format!(r"!{annotation}.matches(r'#[^\n]*[{{}}]')"),
        format!("!{annotation}.matches(r'{OTHER_TYPES}')"),
        format!("!{annotation}.contains('\"\"')"),
        format!("{entries}.size() <= {MOST_REQUESTS}"),
        format!(
            "{entries}.all(e, e.findAll('group: ').size() == 1 && e.findAll('key: ').size() == 1 && \
             e.findAll('env: ').size() <= 1)"
        ),
        format!("object.spec.containers.size() <= {MOST_CONTAINERS}"),
        format!("(!has(object.spec.initContainers) || object.spec.initContainers.size() <= {MOST_CONTAINERS})"),
    ]
    .join(" && ")
}

/// Lists of group, key, variable, and the variable as it is written.
fn entries() -> String {
    let value = |field: &str| format!(r#"e.find('{field}: +"?[A-Za-z0-9._-]*').split(':')[1].trim().replace('"', '')"#);
    format!(
        r"object.metadata.annotations['ampoule.dev/secrets'].findAll(r'\{{[^{{}}]*\}}').map(e, [{}, {}, e.contains('env: ') ? {} : '']).map(p, [p[0], p[1], p[2] != '' ? p[2] : (p[0] + '_' + p[1]).replace('-', '_').upperAscii(), p[2]])",
        value("group"),
        value("key"),
        value("env"),
    )
}

/// `[0, 1, …]`: CEL of Kubernetes has no function for it.
fn range(count: usize) -> String {
    let numbers: Vec<_> = (0..count.max(MOST_CONTAINERS)).map(|n| n.to_string()).collect();
    format!("[{}]", numbers.join(", "))
}

/// A variable as a value of CEL, for an entry of the list `entries`.
fn variable_of(variable: &AnsweredVariable, entry: &str) -> String {
    let name = match &variable.name {
        VariableName::Requested => format!("{entry}[2]"),
        VariableName::Prefixed(prefix) => {
            format!("{} + ({entry}[0] + '_' + {entry}[1]).upperAscii()", quoted(prefix))
        }
        VariableName::Fixed(name) => quoted(name),
    };
    match &variable.source {
        VariableSource::Reference { optional } => format!(
            "{{'name': dyn({name}), 'valueFrom': dyn({{'secretKeyRef': {{'name': dyn({entry}[0]), 'key': \
             dyn({entry}[1]), 'optional': dyn({optional})}}}})}}"
        ),
        VariableSource::Literal(value) if value.is_empty() => format!("{{'name': dyn({name})}}"),
        VariableSource::Literal(value) => format!("{{'name': dyn({name}), 'value': dyn({})}}", quoted(value)),
    }
}

/// A text of CEL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}
