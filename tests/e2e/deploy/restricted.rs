//! Pod Security `restricted`, as Kubernetes documents it: the API server of Debian 12 is older than
//! the admission plugin for it.
//!
//! Two rules are Ampoule's own: a read-only root file system, and a memory limit for every
//! container.

use serde_json::{Value, json};

/// The volumes that a restricted pod may have.
const VOLUMES: [&str; 8] =
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];

/// Verifies that a pod's spec conforms.
pub(super) fn check(spec: &Value) {
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        assert_eq!(spec[field], Value::Null, "{field}");
    }
    let context = &spec["securityContext"];
    assert_eq!(context["runAsNonRoot"], true);
    assert_eq!(context["runAsUser"], 65532);
    assert_eq!(context["seccompProfile"], json!({ "type": "RuntimeDefault" }));
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        let mut kinds = volume.as_object().into_iter().flatten().filter(|(key, _)| *key != "name");
        assert!(kinds.all(|(kind, _)| VOLUMES.contains(&kind.as_str())), "{volume}");
    }
    let containers =
        ["initContainers", "containers"].iter().flat_map(|list| spec[list].as_array().into_iter().flatten());
    for container in containers {
        let expected = json!({
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        });
        assert_eq!(container["securityContext"], expected, "{}", container["name"]);
        assert!(container["resources"]["limits"]["memory"].is_string(), "{}", container["name"]);
        let mut ports = container["ports"].as_array().into_iter().flatten();
        assert!(ports.all(|port| port["hostPort"].is_null() && port["containerPort"].as_u64() > Some(1023)));
    }
}
