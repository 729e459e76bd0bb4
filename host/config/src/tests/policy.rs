//! Section `policy` and shadow injectors: the message of every error.
//!
//! Expressions are compiled by another crate; their errors are tested there and in the server.

use super::{config, refuses};

fn refuses_rules(rules: &str, expected: &str) {
    refuses(&format!("policy: {{ rules: [{rules}] }}"), &format!("configuration: policy.rules{expected}"));
}

#[test]
fn rules_are_checked_one_by_one() {
    let name = "is not a valid name; use 1 to 63 of a-z, 0-9 and -, and start and end with a letter or digit";
    refuses_rules("{ when: 'true', message: no }", &format!("[0].name: \"\" {name}"));
    refuses_rules("{ name: -a, when: 'true', message: no }", &format!("[0].name: \"-a\" {name}"));
    refuses_rules("{ name: A, when: 'true', message: no }", &format!("[0].name: \"A\" {name}"));
    let good = "{ name: a, when: 'true', message: no }";
    refuses_rules(&format!("{good}, {good}"), "[1].name: \"a\" is already the name of an earlier rule");
    refuses_rules("{ name: a, message: no }", "[0].when: is required: an expression in CEL that returns a boolean");
    let message = "[0].message: is required for deny and warn: the pod's author reads it";
    refuses_rules("{ name: a, when: 'true' }", message);
    refuses_rules("{ name: a, when: 'true', action: warn }", message);
    let long = format!("{{ name: a, when: 'true', message: {} }}", "x".repeat(161));
    refuses_rules(&long, "[0].message: has 161 characters; the limit is 160");
    refuses_rules(
        "{ name: a, when: 'true', message: \"a\\nb\" }",
        "[0].message: contains a control character; use one line of text",
    );
    let many: Vec<_> = (0..101).map(|i| format!("{{ name: r{i}, when: 'true', message: no }}")).collect();
    refuses_rules(&many.join(", "), ": has 101 rules; the limit is 100");
}

#[test]
fn a_rule_that_reports_needs_no_message() {
    let config = config("policy: { rules: [{ name: a, when: 'true', action: audit, shadow: true }] }");
    assert!(config.policy[0].message.is_empty() && config.policy[0].shadow);
}

#[test]
fn a_shadow_injector_serves_no_pod() {
    let shadow = "{ name: new, component: builtin:k8s, shadow: true }";
    refuses(
        &format!("injectors: [{shadow}]"),
        "configuration: injectors: has only shadow injectors, and globalSecrets.enabled is false: no secret could be \
         found",
    );
    let parsed = config(&format!("injectors: [{shadow}, {{ name: old, component: builtin:k8s }}]"));
    assert!(parsed.injectors[0].shadow && !parsed.injectors[0].required);
    assert!(!parsed.injectors[1].shadow && parsed.injectors[1].required);
    refuses(
        "injectors: [{ name: new, component: builtin:k8s, shadow: true, required: true }]",
        "configuration: injectors[0].required: cannot be true for a shadow injector, which serves no pod",
    );
}
