//! Converts the parts of an edit to Kubernetes' JSON.
//!
//! Fields that an edit does not set are absent in the JSON, and Kubernetes fills in its defaults.

use serde_json::{Map, Value, json};

use super::{
    Csi, EnvSource, EnvVar, InitContainer, Resources, SecretVolume, SecurityContext, ServiceAccountToken, Volume,
    VolumeMount, VolumeSource,
};

impl EnvVar {
    /// # Errors
    ///
    /// Returns an error for a secret value that no environment variable can contain. The message
    /// never contains the value.
    pub(super) fn to_json(&self) -> Result<Value, String> {
        let mut entry = named(&self.name);
        match &self.source {
            EnvSource::Literal(value) => insert_text(&mut entry, "value", value),
            EnvSource::SecretValue(value) => {
                let value = value.as_variable().map_err(|problem| {
                    format!("the value of environment variable {} {problem}; mount it as a file", self.name)
                })?;
                insert_text(&mut entry, "value", value);
            }
            EnvSource::Promise(_) => {
                return Err(format!("the value of environment variable {} is only fetched in the pod", self.name));
            }
            EnvSource::FileKey(reference) => {
                let mut source = json!({
                    "key": reference.key,
                    "path": reference.path,
                    "volumeName": reference.volume,
                });
                if reference.optional {
                    source["optional"] = json!(true);
                }
                entry.insert("valueFrom".to_owned(), json!({ "fileKeyRef": source }));
            }
            EnvSource::SecretKey(reference) => {
                let source = json!({ "secretKeyRef": {
                    "name": reference.name,
                    "key": reference.key,
                    "optional": reference.optional,
                } });
                entry.insert("valueFrom".to_owned(), source);
            }
        }
        Ok(Value::Object(entry))
    }
}

impl Volume {
    /// # Errors
    ///
    /// Returns an error for a JSON source that is not an object, or that contains a name.
    pub(super) fn to_json(&self) -> Result<Value, String> {
        let mut volume = match &self.source {
            VolumeSource::Secret(secret) => json!({ "secret": secret.to_json() }),
            VolumeSource::Memory { size_limit } => json!({ "emptyDir": memory(size_limit.as_deref()) }),
            VolumeSource::Csi(csi) => json!({ "csi": csi.to_json() }),
            VolumeSource::ServiceAccountToken(token) => {
                json!({ "projected": { "sources": [{ "serviceAccountToken": token.to_json() }] } })
            }
            VolumeSource::Json(text) => parse_source(&self.name, text)?,
        };
        volume["name"] = json!(self.name);
        Ok(volume)
    }
}

impl SecretVolume {
    fn to_json(&self) -> Value {
        let mut object = object_with("secretName", &self.secret_name);
        if !self.items.is_empty() {
            let items = self.items.iter().map(|item| json!({ "key": item.key, "path": item.path }));
            object.insert("items".to_owned(), Value::Array(items.collect()));
        }
        object.insert("optional".to_owned(), json!(self.optional));
        Value::Object(object)
    }
}

impl Csi {
    fn to_json(&self) -> Value {
        let mut object = json!({ "driver": self.driver, "readOnly": self.read_only });
        if !self.attributes.is_empty() {
            object["volumeAttributes"] = sorted_object(&self.attributes);
        }
        if let Some(name) = &self.node_publish_secret {
            object["nodePublishSecretRef"] = json!({ "name": name });
        }
        object
    }
}

impl ServiceAccountToken {
    fn to_json(&self) -> Value {
        let mut object = Map::new();
        insert_some(&mut object, "audience", self.audience.as_ref());
        insert_some(&mut object, "expirationSeconds", self.expiration_seconds.as_ref());
        object.insert("path".to_owned(), json!(self.path));
        Value::Object(object)
    }
}

impl VolumeMount {
    pub(super) fn to_json(&self) -> Value {
        let mut object = named(&self.volume);
        if self.read_only {
            object.insert("readOnly".to_owned(), json!(true));
        }
        object.insert("mountPath".to_owned(), json!(self.path));
        insert_some(&mut object, "subPath", self.sub_path.as_ref());
        Value::Object(object)
    }
}

impl InitContainer {
    /// # Errors
    ///
    /// Returns an error in the same cases as [`EnvVar::to_json`].
    pub(super) fn to_json(&self) -> Result<Value, String> {
        let env = self.env.iter().map(EnvVar::to_json).collect::<Result<_, _>>()?;
        let resources = self.resources.as_ref().map(Resources::to_json);
        let security_context = self.security_context.as_ref().map(SecurityContext::to_json);
        let mut object = named(&self.name);
        object.insert("image".to_owned(), json!(self.image));
        insert_list(&mut object, "command", self.command.iter().map(|word| json!(word)).collect());
        insert_list(&mut object, "args", self.args.iter().map(|word| json!(word)).collect());
        insert_list(&mut object, "env", env);
        insert_some(&mut object, "resources", resources.as_ref());
        insert_list(&mut object, "volumeMounts", self.mounts.iter().map(VolumeMount::to_json).collect());
        insert_some(&mut object, "securityContext", security_context.as_ref());
        let mut container = Value::Object(object);
        self.patches.iter().for_each(|patch| patch.merge_into(&mut container));
        Ok(container)
    }
}

impl Resources {
    fn to_json(&self) -> Value {
        let mut object = Map::new();
        for (key, quantities) in [("limits", &self.limits), ("requests", &self.requests)] {
            if !quantities.is_empty() {
                object.insert(key.to_owned(), sorted_object(quantities));
            }
        }
        Value::Object(object)
    }
}

impl SecurityContext {
    fn to_json(&self) -> Value {
        let mut object = Map::new();
        if self.drop_all_capabilities {
            object.insert("capabilities".to_owned(), json!({ "drop": ["ALL"] }));
        }
        insert_some(&mut object, "runAsUser", self.run_as_user.as_ref());
        insert_some(&mut object, "runAsGroup", self.run_as_group.as_ref());
        insert_some(&mut object, "runAsNonRoot", self.run_as_non_root.as_ref());
        insert_some(&mut object, "readOnlyRootFilesystem", self.read_only_root_filesystem.as_ref());
        insert_some(&mut object, "allowPrivilegeEscalation", self.allow_privilege_escalation.as_ref());
        if self.runtime_default_seccomp {
            object.insert("seccompProfile".to_owned(), json!({ "type": "RuntimeDefault" }));
        }
        Value::Object(object)
    }
}

fn named(name: &str) -> Map<String, Value> {
    object_with("name", name)
}

/// Returns an object with one field. `Map::from_iter` would sort a list first.
fn object_with(key: &str, text: &str) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert(key.to_owned(), Value::String(text.to_owned()));
    object
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
            Err(format!("the JSON source of volume {name} must not contain a name"))
        }
        Ok(source @ Value::Object(_)) => Ok(source),
        _ => Err(format!("the source of volume {name} must be a JSON object")),
    }
}

/// Returns an object of the pairs, sorted by key, so that the patch does not depend on the order in
/// which a plugin returns them.
fn sorted_object(pairs: &[(String, String)]) -> Value {
    let mut sorted: Vec<_> = pairs.iter().collect();
    sorted.sort();
    Value::Object(sorted.into_iter().map(|(key, value)| (key.clone(), json!(value))).collect())
}

/// Inserts a text unless it is empty. Kubernetes drops an empty `value`; with it, the patch of a
/// second review would differ.
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
