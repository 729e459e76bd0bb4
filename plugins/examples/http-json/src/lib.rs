//! The injector `http-json`: secrets from any store that answers a GET over HTTPS with JSON.
//!
//! The settings define the store's URL, the request headers and the location of the value in the
//! answer; `README.md` contains a complete configuration. The plugin returns a `secret-value`: the
//! webhook decides how it reaches the pod.

mod settings;
mod template;

use ampoule_plugin_sdk::{
    InjectionError::{self, InvalidRequest},
    environment, http,
    names::env_name,
    prelude::*,
};
use serde_json::Value;

pub use self::settings::{Header, Settings};
use self::template::{Template, fill_pointer};

/// The plugin, with validated settings.
pub struct HttpJson {
    url: Template,
    headers: Vec<Header>,
    pointer: String,
    env_prefix: String,
}

ampoule_plugin_sdk::export!(HttpJson);

// === impl HttpJson ===

impl Injector for HttpJson {
    type Settings = Settings;
    const NAME: &'static str = "http-json";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const MOUNTS: &'static [MountRequirement] = &[MountRequirement::Any, MountRequirement::EnvVar];
    const SETTINGS_SCHEMA: &'static str = include_str!("../settings.schema.json");

    fn new(settings: Settings, conventions: &Conventions) -> Result<Self, String> {
        let Settings { url, headers, pointer } = settings;
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err(format!("pointer: must be a JSON pointer such as /data/value, not {pointer:?}"));
        }
        for (i, header) in headers.iter().enumerate() {
            header.check().map_err(|reason| format!("headers[{i}]: {reason}"))?;
        }
        let url = Template::parse(url).map_err(|reason| format!("url: {reason}"))?;
        Ok(Self { url, headers, pointer, env_prefix: conventions.env_prefix.clone() })
    }

    fn inject(&self, request: &SecretRequest, _pod: &PodView) -> Result<Vec<Edit>, InjectionError> {
        if request.mount == MountRequirement::File {
            return Err(InjectionError::unsupported(format!(
                "http-json supports environment variables only, not files [{request}]"
            )));
        }
        if request.key.is_empty() {
            return Err(InvalidRequest(format!("key must be set [{request}]")));
        }
        let default_name = [&self.env_prefix, &request.group, "_", &request.key].concat().to_ascii_uppercase();
        let mut names = vec![env_name(&default_name)?];
        names.extend(request.env_var.as_deref().map(env_name).transpose()?);
        let value = self.fetch(request)?;
        let mut edits: Vec<_> = names
            .iter()
            .map(|name| Edit::set_env(*name, EnvSource::secret_value(value.clone().into_bytes())))
            .collect();
        edits.push(Edit::set_env("FLYTE_SECRETS_ENV_PREFIX", EnvSource::literal(&self.env_prefix)));
        Ok(edits)
    }
}

impl HttpJson {
    fn fetch(&self, request: &SecretRequest) -> Result<String, InjectionError> {
        let mut call = http::get(self.url.fill(request)?).header("accept", "application/json");
        for header in &self.headers {
            let value = header.value(environment::get).map_err(InjectionError::internal)?;
            call = call.header(&header.name, value);
        }
        let answer = call.send()?;
        match answer.status {
            200 => self.value(request, &answer.json()?),
            404 | 410 => Err(InjectionError::not_found(format!("the store has no secret {request}"))),
            401 => Err(InjectionError::internal("the store rejects the plugin's credentials; check settings.headers")),
            403 => Err(InjectionError::denied(format!("the store denies access to secret {request}"))),
            300..=399 => {
                Err(InjectionError::internal("the store answers with a redirect; set settings.url to its target"))
            }
            408 | 429 | 500.. => {
                Err(InjectionError::unavailable(format!("the store answers with status {}", answer.status)))
            }
            status => {
                Err(InjectionError::internal(format!("the store answers with status {status}; check settings.url")))
            }
        }
    }

    /// Returns the value at the pointer: a string without quotes, a number or a boolean as JSON.
    fn value(&self, request: &SecretRequest, document: &Value) -> Result<String, InjectionError> {
        let pointer = fill_pointer(&self.pointer, request);
        match document.pointer(&pointer) {
            Some(Value::String(value)) => Ok(value.clone()),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
            None | Some(Value::Null) => {
                Err(InjectionError::not_found(format!("the store's answer for {request} has no value at {pointer:?}")))
            }
            Some(_) => {
                let reason = format!(
                    "the store's answer for {request} has an array or object at {pointer:?}; check settings.pointer"
                );
                Err(InjectionError::internal(reason))
            }
        }
    }
}

#[cfg(test)]
mod tests;
