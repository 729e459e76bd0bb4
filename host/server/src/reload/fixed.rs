//! What a process takes from its configuration once, when it starts: [`changed`] tells which of that is another now.
//!
//! Ports are bound, a certificate is made for a Service's name and followed where it is, the registration is kept under its own
//! name: sections `server`, `certificates`, `registration` and `tracing`. DESIGN.md says why; everything else takes effect at once.

use std::collections::BTreeSet;

use serde_json::Value;

use ampoule_config::Config;

const SECTIONS: [&str; 4] = ["server", "registration", "certificates", "tracing"];

/// The paths of the keys in these sections that have other values than at the start.
pub(super) fn changed(at_start: &Config, now: &Config) -> Vec<String> {
    let (before, after) = (at_start.effective(), now.effective());
    let keys = |section| {
        let (before, after): (&Value, &Value) = (&before[section], &after[section]);
        let keys: BTreeSet<_> =
            [before, after].iter().filter_map(|values| values.as_object()).flat_map(|v| v.keys()).collect();
        let changed = keys.into_iter().filter(|key| before[key.as_str()] != after[key.as_str()]);
        changed.map(|key| format!("{section}.{key}")).collect::<Vec<_>>()
    };
    SECTIONS.into_iter().flat_map(keys).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, after: &str, expected: &[&str]) {
        let [before, after] = [before, after].map(|yaml| Config::parse(yaml, &["k8s"]).unwrap());
        assert_eq!(changed(&before, &after), expected);
    }

    #[test]
    fn names_what_waits_for_the_next_start_and_nothing_else() {
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
