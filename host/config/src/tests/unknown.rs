//! Tests of the messages for keys that do not exist.
//!
//! They list the keys that do.

use super::refuses;

#[test]
fn unknown_keys_are_refused_with_the_known_ones() {
    refuses(
        "plugin: {}",
        "configuration, line 1, column 1: plugin: unknown field `plugin`, expected one of profile, conventions, \
         onFailure, globalSecrets, server, registration, certificates, engine, trust, registries, pods, delivery, rotation, policy, audit, tracing, plugins, injectors",
    );
    refuses(
        "config:\n  profile: plain",
        "configuration, line 1, column 1: config: unknown field `config`, expected one of profile, conventions, \
         onFailure, globalSecrets, server, registration, certificates, engine, trust, registries, pods, delivery, rotation, policy, audit, tracing, plugins, injectors; \
         in the values of the chart, the configuration is the value of config",
    );
    refuses(
        "server:\n  tls: {}",
        "configuration, line 2, column 3: server.tls: unknown field `tls`, expected one of listen, admin, certDir, \
         shutdownDelaySeconds, shutdownGraceSeconds, maxConnections, maxConnectionAgeSeconds, maxAdmissions, clients, invalidation, console",
    );
    refuses(
        "injectors:\n- name: k8s\n  component: builtin:k8s\n  limits: { memoryMb: 3 }",
        "configuration, line 4, column 13: injectors[0].limits.memoryMb: unknown field `memoryMb`, expected one of \
         memoryMiB, deadlineMillis, instances, queueWaitMillis, componentMiB, outboundCalls",
    );
}
