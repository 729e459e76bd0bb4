//! The injector `onepassword-connect`: fields of items in 1Password, over a Connect server.
//!
//! The group of a request is the title of an item, and the key the label of a field. Connect finds
//! ids by names, so `fetch` sends up to three requests: for the id of the vault, which the grant
//! `cache` saves, for the id of the item, and for the item. The host adds the token
//! (`credential: bearer`), so the plugin sees no credential.

use ampoule_plugin_sdk::{
    InjectionError::{self, InvalidRequest},
    MAX_PROMISE_SIZE, cache, http,
    names::env_name,
    prelude::*,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The plugin, with validated settings.
pub struct OnePasswordConnect {
    settings: Settings,
    env_prefix: String,
}

/// The settings of the injector (`injectors[].settings`).
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    /// URL of the Connect server, such as `https://connect.onepassword.svc:8443`.
    url: String,
    /// Name of the vault with the items.
    vault: String,
}

/// A promise: the field of an item, as JSON.
#[derive(Deserialize, Serialize)]
struct Promise {
    item: String,
    field: String,
}

/// An element of a list of vaults or items.
#[derive(Deserialize)]
struct Entry {
    id: String,
}

ampoule_plugin_sdk::export!(OnePasswordConnect);

// === impl OnePasswordConnect ===

impl Injector for OnePasswordConnect {
    type Settings = Settings;
    const NAME: &'static str = "onepassword-connect";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DELIVERIES: &'static [Delivery] = &[Delivery::EnvVar];
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");

    fn new(mut settings: Settings, conventions: &Conventions) -> Result<Self, String> {
        if !settings.url.starts_with("https://") {
            return Err("url: must begin with https://".to_owned());
        }
        settings.url.truncate(settings.url.trim_end_matches('/').len());
        filter("name", &settings.vault).map_err(|reason| format!("vault: {reason}"))?;
        Ok(Self { settings, env_prefix: conventions.env_prefix.clone() })
    }

    fn inject(&self, request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        if request.delivery == Delivery::File {
            return Err(InjectionError::unsupported(format!("{} sets environment variables only", Self::NAME)));
        }
        if request.key.is_empty() || !request.group_version.is_empty() {
            return Err(InvalidRequest(format!("set the key, and no version: Connect has none [{request}]")));
        }
        filter("title", &request.group).map_err(|reason| InvalidRequest(format!("group: {reason} [{request}]")))?;
        let promise = Promise { item: request.group.clone(), field: request.key.clone() };
        let promise = serde_json::to_string(&promise).map_err(|error| InjectionError::internal(error.to_string()))?;
        if promise.len() > MAX_PROMISE_SIZE {
            return Err(InvalidRequest(format!("group and key must have at most {MAX_PROMISE_SIZE} bytes as JSON")));
        }
        let default_name = [&self.env_prefix, &request.group, "_", &request.key].concat().to_ascii_uppercase();
        let name = env_name(request.env_var.as_deref().unwrap_or(&default_name))?;
        Ok(vec![Edit::set_env(name, EnvSource::promise(promise))])
    }

    fn fetch(&self, promise: &str) -> Result<FetchedValue, InjectionError> {
        let Promise { item, field } = serde_json::from_str(promise)
            .map_err(|error| InjectionError::internal(format!("the promise is not valid: {error}")))?;
        let items = format!("/v1/vaults/{}/items", self.vault_id()?);
        let id = self.id(&items, "title", &item)?;
        let answer: Value = self.get(&format!("{items}/{id}"))?;
        let is_field = |found: &&Value| found["label"] == *field || found["id"] == *field;
        let found = answer["fields"].as_array().into_iter().flatten().find(is_field);
        match found.and_then(|found| found["value"].as_str()) {
            Some(value) => Ok(FetchedValue::new(value).version(answer["version"].to_string())),
            None => Err(InjectionError::not_found(format!("item {item:?} has no value in a field {field:?}"))),
        }
    }
}

impl OnePasswordConnect {
    /// Returns the id of the vault. The cache belongs to this plugin with these settings, so its
    /// keys need not contain the URL of the server.
    fn vault_id(&self) -> Result<String, InjectionError> {
        let vault = &self.settings.vault;
        if let Some(id) = cache::get(vault).and_then(|id| String::from_utf8(id).ok()) {
            return Ok(id);
        }
        let id = self.id("/v1/vaults", "name", vault)?;
        cache::set(vault, id.as_bytes(), 3600);
        Ok(id)
    }

    /// Returns the id of the only entry of a list with this name or title.
    fn id(&self, list: &str, attribute: &str, name: &str) -> Result<String, InjectionError> {
        let filter = filter(attribute, name).map_err(InjectionError::internal)?;
        let mut entries: Vec<Entry> = self.get(&format!("{list}?filter={filter}"))?;
        match (entries.pop(), entries.len()) {
            (Some(entry), 0) if entry.id.bytes().all(|byte| byte.is_ascii_alphanumeric()) => Ok(entry.id),
            (None, _) => Err(InjectionError::not_found(format!("Connect has nothing with the {attribute} {name:?}"))),
            (_, 0) => Err(InjectionError::internal("Connect answers with an id that is not valid")),
            _ => Err(InvalidRequest(format!("Connect has several entries with the {attribute} {name:?}; rename them"))),
        }
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, InjectionError> {
        let answer = http::get(format!("{}{path}", self.settings.url)).header("accept", "application/json").send()?;
        match answer.status {
            200 => Ok(answer.json()?),
            401 => Err(InjectionError::denied("Connect rejects the token; check the credential in grants.http")),
            403 => Err(InjectionError::denied("Connect denies the token access to this vault or item")),
            404 => Err(InjectionError::not_found("Connect has no such vault or item")),
            408 | 429 | 500.. => Err(InjectionError::unavailable(format!("Connect answers with {}", answer.status))),
            status => Err(InjectionError::internal(format!("Connect answers with {status}; check settings.url"))),
        }
    }
}

/// Returns a filter for a query. Connect's filters have no escape for a quotation mark.
fn filter(attribute: &str, name: &str) -> Result<String, String> {
    if name.is_empty() || name.contains(['"', '\\']) || name.contains(char::is_control) {
        return Err("must be a name without quotation marks and backslashes".to_owned());
    }
    Ok(http::percent_encode(&format!("{attribute} eq \"{name}\"")))
}

#[cfg(test)]
mod tests;
