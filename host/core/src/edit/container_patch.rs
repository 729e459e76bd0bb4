//! [`ContainerPatch`]: fields of an init container that a plugin gives as JSON.
//!
//! The text must not contain fields that an edit's permissions cover (image, variables, mounts),
//! and must not give the container more rights than a pod has by default.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

/// A JSON Merge Patch (RFC 7386) for an init container, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPatch(Value);

/// Fields that an init container gets in another way, where permissions are checked.
const FIELDS_WITH_METHODS: [&str; 8] =
    ["name", "image", "command", "args", "env", "envFrom", "volumeMounts", "volumeDevices"];

/// Fields of a security context that may have any value. Others may only take rights away.
const HARMLESS_SECURITY_FIELDS: [&str; 4] = ["runAsUser", "runAsGroup", "runAsNonRoot", "readOnlyRootFilesystem"];

// === impl ContainerPatch ===

impl ContainerPatch {
    /// Parses and checks a patch.
    ///
    /// # Errors
    ///
    /// The text is not a JSON object, or has a field that is not allowed. The message names the
    /// field.
    pub fn parse(source: &str) -> Result<Self, String> {
        let patch: Map<String, Value> =
            serde_json::from_str(source).map_err(|error| format!("the fields are not a JSON object: {error}"))?;
        if let Some(field) = FIELDS_WITH_METHODS.iter().find(|field| patch.contains_key(**field)) {
            return Err(format!("field {field} cannot be merged into an init container: use its method"));
        }
        if let Some(field) = patch.get("securityContext").and_then(first_right) {
            return Err(refused(&["securityContext.", &field].concat()));
        }
        if let Some(field) = patch.get("ports").and_then(host_port) {
            return Err(refused(&["ports[].", field].concat()));
        }
        Ok(Self(Value::Object(patch)))
    }

    /// Makes an init container a sidecar, which runs as long as the pod.
    pub(crate) fn sidecar() -> Self {
        Self(json!({ "restartPolicy": "Always" }))
    }

    /// Merges the fields into the JSON of a container.
    pub(super) fn merge_into(&self, container: &mut Value) {
        json_patch::merge(container, &self.0);
    }
}

impl Serialize for ContainerPatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

fn refused(field: &str) -> String {
    format!("field {field} would give an init container more rights than a pod has by default")
}

/// Returns the first field of a security context that gives a right. An unknown field counts as
/// one.
fn first_right(context: &Value) -> Option<String> {
    let fields = context.as_object()?;
    let right = fields.iter().find(|(field, value)| !value.is_null() && gives_right(field, value));
    right.map(|(field, _)| field.clone())
}

fn gives_right(field: &str, value: &Value) -> bool {
    match field {
        "privileged" | "allowPrivilegeEscalation" => value != false,
        "capabilities" => value.as_object().is_none_or(|lists| lists.keys().any(|list| list != "drop")),
        "seccompProfile" | "appArmorProfile" => value["type"] != "RuntimeDefault",
        _ => !HARMLESS_SECURITY_FIELDS.contains(&field),
    }
}

/// Returns the first field of a list of ports that opens a port of the node.
fn host_port(ports: &Value) -> Option<&'static str> {
    let has = |field| list_of(ports).iter().any(|port| !port[field].is_null());
    ["hostPort", "hostIP"].into_iter().find(|field| has(*field))
}

fn list_of(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refuses_fields_that_permissions_decide_about_and_fields_that_give_rights() {
        for (source, expected) in [
            (json!({ "image": "evil" }), "field image cannot be merged into an init container: use its method"),
            (
                json!({ "volumeMounts": null }),
                "field volumeMounts cannot be merged into an init container: use its method",
            ),
            (json!({ "securityContext": { "privileged": true } }), "securityContext.privileged"),
            (json!({ "securityContext": { "privileged": "yes" } }), "securityContext.privileged"),
            (
                json!({ "securityContext": { "allowPrivilegeEscalation": true } }),
                "securityContext.allowPrivilegeEscalation",
            ),
            (
                json!({ "securityContext": { "capabilities": { "add": ["SYS_ADMIN"] } } }),
                "securityContext.capabilities",
            ),
            (
                json!({ "securityContext": { "seccompProfile": { "type": "Unconfined" } } }),
                "securityContext.seccompProfile",
            ),
            (json!({ "securityContext": { "procMount": "Unmasked" } }), "securityContext.procMount"),
            (json!({ "securityContext": { "fieldOf2030": 1 } }), "securityContext.fieldOf2030"),
            (json!({ "ports": [{ "containerPort": 1 }, { "hostPort": 80 }] }), "ports[].hostPort"),
        ] {
            let message = ContainerPatch::parse(&source.to_string()).unwrap_err();
            assert!(message == expected || message == refused(expected), "{source}: {message}");
        }
        for text in ["", "[]", "{", "null", "\"image\""] {
            assert!(ContainerPatch::parse(text).unwrap_err().starts_with("the fields are not a JSON object"), "{text}");
        }
    }

    #[test]
    fn merges_every_other_field() {
        let fields = json!({
            "imagePullPolicy": "Always",
            "restartPolicy": "Always",
            "ports": [{ "containerPort": 8080 }],
            "securityContext": {
                "privileged": false,
                "runAsUser": 1000,
                "capabilities": { "drop": ["ALL"] },
                "seccompProfile": { "type": "RuntimeDefault" },
                "procMount": null,
            },
            "fieldOf2030": { "a": 1 },
        });
        let mut container = json!({ "name": "c", "securityContext": { "runAsUser": 1, "runAsGroup": 2 } });
        ContainerPatch::parse(&fields.to_string()).unwrap().merge_into(&mut container);
        assert_eq!(container["securityContext"]["runAsUser"], 1000);
        assert_eq!(container["securityContext"]["runAsGroup"], 2);
        assert_eq!(container["fieldOf2030"]["a"], 1);
        assert_eq!(container["name"], "c");
    }
}
