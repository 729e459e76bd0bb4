//! The configuration keys that take effect only at the start of a process: [`changed`] lists those
//! that differ.
//!
//! They are the sections `server`, `certificates`, `registration` and `tracing`: a bound port, a
//! certificate's source and the registration's name cannot change in a running process. All other
//! keys take effect immediately. DESIGN.md explains the decision.

use std::collections::BTreeSet;

use serde_json::Value;

use ampoule_config::Config;

const SECTIONS: [&str; 4] = ["server", "registration", "certificates", "tracing"];

/// Returns the paths of the keys in these sections whose values differ from those at the start.
pub(super) fn changed(at_start: &Config, now: &Config) -> Vec<String> {
    let (before, after) = (at_start.effective(), now.effective());
    SECTIONS.into_iter().flat_map(|section| changed_keys(section, &before[section], &after[section])).collect()
}

fn changed_keys(section: &str, before: &Value, after: &Value) -> Vec<String> {
    let objects = [before, after].into_iter().filter_map(Value::as_object);
    let keys: BTreeSet<_> = objects.flat_map(|object| object.keys()).collect();
    let changed = keys.into_iter().filter(|key| before[key.as_str()] != after[key.as_str()]);
    changed.map(|key| format!("{section}.{key}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, after: &str, expected: &[&str]) {
        let [before, after] = [before, after].map(|yaml| Config::parse(yaml, &["k8s"]).unwrap());
        assert_eq!(changed(&before, &after), expected);
    }

    #[test]
    fn lists_exactly_the_keys_that_need_a_restart() {
        check("", "", &[]);
        check("", "server: { listen: 0.0.0.0:9443 }", &[]);
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
}
