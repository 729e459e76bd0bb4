//! How each part of an edit looks in a pod.
//!
//! What is absent in an edit is absent in the JSON: Kubernetes fills its own defaults in.

use serde_json::{Map, Value, json};

use super::{
    EnvSource, EnvVar, InitContainer, Resources, SecretKeyRef, SecretVolume, SecurityContext, Volume, VolumeMount,
    VolumeSource,
};

impl EnvVar {
    /// # Errors
    ///
    /// A secret value that is not UTF-8 fits no environment variable. The message never shows it.
    pub(super) fn to_json(&self) -> Result<Value, String> {
        let Self { name, source } = self;
        let mut entry = Map::from_iter([("name".to_owned(), json!(name))]);
        match source {
            EnvSource::Literal(value) => insert_text(&mut entry, "value", value),
            EnvSource::SecretValue(value) => {
                let value = std::str::from_utf8(value.expose()).map_err(|_| {
                    format!("the value for environment variable {name} is not UTF-8; mount it as a file")
                })?;
                insert_text(&mut entry, "value", value);
            }
            EnvSource::SecretKey(SecretKeyRef { name, key, optional }) => {
                let reference = json!({ "secretKeyRef": { "name": name, "key": key, "optional": optional } });
                entry.insert("valueFrom".to_owned(), reference);
            }
        }
        Ok(Value::Object(entry))
    }
}

impl Volume {
    /// # Errors
    ///
    /// A source given as JSON that is no object, or names the volume.
    pub(super) fn to_json(&self) -> Result<Value, String> {
        let Self { name, source } = self;
        let source = match source {
            VolumeSource::Secret(secret) => json!({ "secret": secret.to_json() }),
            VolumeSource::Memory { size_limit } => json!({ "emptyDir": memory(size_limit.as_deref()) }),
            VolumeSource::Csi(csi) => {
                let mut object = json!({ "driver": csi.driver, "readOnly": csi.read_only });
                if !csi.attributes.is_empty() {
                    object["volumeAttributes"] = pairs(&csi.attributes);
                }
                if let Some(name) = &csi.node_publish_secret {
                    object["nodePublishSecretRef"] = json!({ "name": name });
                }
                json!({ "csi": object })
            }
            VolumeSource::ServiceAccountToken(token) => {
                let mut object = Map::new();
                insert_some(&mut object, "audience", token.audience.as_ref());
                insert_some(&mut object, "expirationSeconds", token.expiration_seconds.as_ref());
                object.insert("path".to_owned(), json!(token.path));
                json!({ "projected": { "sources": [{ "serviceAccountToken": object }] } })
            }
            VolumeSource::Json(text) => parse_source(name, text)?,
        };
        let mut volume = source;
        volume["name"] = json!(name);
        Ok(volume)
    }
}

impl SecretVolume {
    fn to_json(&self) -> Value {
        let Self { secret_name, items, optional } = self;
        let mut object = Map::from_iter([("secretName".to_owned(), json!(secret_name))]);
        if !items.is_empty() {
            let items = items.iter().map(|item| json!({ "key": item.key, "path": item.path })).collect();
            object.insert("items".to_owned(), Value::Array(items));
        }
        object.insert("optional".to_owned(), json!(optional));
        Value::Object(object)
    }
}

impl VolumeMount {
    pub(super) fn to_json(&self) -> Value {
        let Self { volume, path, read_only, sub_path } = self;
        let mut object = Map::from_iter([("name".to_owned(), json!(volume))]);
        if *read_only {
            object.insert("readOnly".to_owned(), json!(true));
        }
        object.insert("mountPath".to_owned(), json!(path));
        insert_some(&mut object, "subPath", sub_path.as_ref());
        Value::Object(object)
    }
}

impl InitContainer {
    /// # Errors
    ///
    /// As [`EnvVar::to_json`].
    pub(super) fn to_json(&self) -> Result<Value, String> {
        let Self { name, image, command, args, env, mounts, resources, security_context, position: _ } = self;
        let mut object = Map::from_iter([("name".to_owned(), json!(name)), ("image".to_owned(), json!(image))]);
        insert_list(&mut object, "command", command.iter().map(|word| json!(word)).collect());
        insert_list(&mut object, "args", args.iter().map(|word| json!(word)).collect());
        insert_list(&mut object, "env", env.iter().map(EnvVar::to_json).collect::<Result<_, _>>()?);
        insert_some(&mut object, "resources", resources.as_ref().map(Resources::to_json).as_ref());
        insert_list(&mut object, "volumeMounts", mounts.iter().map(VolumeMount::to_json).collect());
        insert_some(&mut object, "securityContext", security_context.as_ref().map(SecurityContext::to_json).as_ref());
        Ok(Value::Object(object))
    }
}

impl Resources {
    fn to_json(&self) -> Value {
        let Self { requests, limits } = self;
        let parts = [("limits", limits), ("requests", requests)].into_iter().filter(|(_, list)| !list.is_empty());
        Value::Object(parts.map(|(key, list)| (key.to_owned(), pairs(list))).collect())
    }
}

impl SecurityContext {
    fn to_json(&self) -> Value {
        let Self {
            run_as_user,
            run_as_group,
            run_as_non_root,
            read_only_root_filesystem,
            allow_privilege_escalation,
            drop_all_capabilities,
            runtime_default_seccomp,
        } = self;
        let mut object = Map::new();
        if *drop_all_capabilities {
            object.insert("capabilities".to_owned(), json!({ "drop": ["ALL"] }));
        }
        insert_some(&mut object, "runAsUser", run_as_user.as_ref());
        insert_some(&mut object, "runAsGroup", run_as_group.as_ref());
        insert_some(&mut object, "runAsNonRoot", run_as_non_root.as_ref());
        insert_some(&mut object, "readOnlyRootFilesystem", read_only_root_filesystem.as_ref());
        insert_some(&mut object, "allowPrivilegeEscalation", allow_privilege_escalation.as_ref());
        if *runtime_default_seccomp {
            object.insert("seccompProfile".to_owned(), json!({ "type": "RuntimeDefault" }));
        }
        Value::Object(object)
    }
}

fn memory(size_limit: Option<&str>) -> Value {
    let mut object = json!({ "medium": "Memory" });
    if let Some(limit) = size_limit {
        object["sizeLimit"] = json!(limit);
    }
    object
}

fn parse_source(name: &str, text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) if object.contains_key("name") => {
            Err(format!("the JSON source of volume {name} must not repeat its name"))
        }
        Ok(source @ Value::Object(_)) => Ok(source),
        _ => Err(format!("the source of volume {name} must be a JSON object")),
    }
}

/// An object of the pairs, by key, so that a plugin's order does not reach the patch.
fn pairs(list: &[(String, String)]) -> Value {
    let mut sorted: Vec<_> = list.iter().collect();
    sorted.sort();
    Value::Object(sorted.into_iter().map(|(key, value)| (key.clone(), json!(value))).collect())
}

/// Kubernetes drops an empty `value`, so writing one would make a second review see another pod.
fn insert_text(object: &mut Map<String, Value>, key: &str, value: &str) {
    if !value.is_empty() {
        object.insert(key.to_owned(), json!(value));
    }
}

fn insert_some<T: serde::Serialize>(object: &mut Map<String, Value>, key: &str, value: Option<&T>) {
    if let Some(value) = value {
        object.insert(key.to_owned(), json!(value));
    }
}

fn insert_list(object: &mut Map<String, Value>, key: &str, list: Vec<Value>) {
    if !list.is_empty() {
        object.insert(key.to_owned(), Value::Array(list));
    }
}
