//! The injector `http-json`: secrets from any store that answers a GET over HTTPS with JSON.
//!
//! The settings define the store's URL, the request headers and the location of the value in the
//! answer; `README.md` contains a complete configuration. `inject` only validates the request and
//! answers with a promise; `fetch` asks the store. The webhook decides how the value reaches the
//! pod.

mod settings;
mod template;

use std::borrow::Cow;

use ampoule_plugin_sdk::{
    InjectionError::{self, InvalidRequest},
    MAX_PROMISE_SIZE, environment, http,
    names::env_name,
    prelude::*,
};
use serde::{Deserialize, Serialize};
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

/// A promise: the parts of the request that select the secret, as JSON.
#[derive(Deserialize, Serialize)]
struct Promise<'a> {
    group: Cow<'a, str>,
    version: Cow<'a, str>,
    key: Cow<'a, str>,
}

ampoule_plugin_sdk::export!(HttpJson);

// === impl HttpJson ===

impl Injector for HttpJson {
    type Settings = Settings;
    const NAME: &'static str = "http-json";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DELIVERIES: &'static [Delivery] = &[Delivery::EnvVar];
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

    fn inject(&self, request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        if request.delivery == Delivery::File {
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
        self.url.fill(request)?;
        let promise = Promise::of(request)?;
        let mut edits: Vec<_> = names.iter().map(|name| Edit::set_env(*name, EnvSource::promise(&promise))).collect();
        edits.push(Edit::set_env("FLYTE_SECRETS_ENV_PREFIX", EnvSource::literal(&self.env_prefix)));
        Ok(edits)
    }

    fn fetch(&self, promise: &str) -> Result<FetchedValue, InjectionError> {
        let request = Promise::parse(promise)?;
        self.ask(&request).map(FetchedValue::new)
    }
}

// === impl Promise ===

impl<'a> Promise<'a> {
    /// Returns the text of a request's promise.
    fn of(request: &'a SecretRequest) -> Result<String, InjectionError> {
        let promise = Self {
            group: request.group.as_str().into(),
            version: request.group_version.as_str().into(),
            key: request.key.as_str().into(),
        };
        let text = serde_json::to_string(&promise).map_err(|error| InjectionError::internal(error.to_string()))?;
        if text.len() > MAX_PROMISE_SIZE {
            return Err(InvalidRequest(format!(
                "group, version and key must have at most {MAX_PROMISE_SIZE} bytes together, as JSON"
            )));
        }
        Ok(text)
    }

    /// Returns the request of a promise.
    fn parse(text: &'a str) -> Result<SecretRequest, InjectionError> {
        let Self { group, version, key } = serde_json::from_str(text)
            .map_err(|error| InjectionError::internal(format!("the promise is not valid: {error}")))?;
        Ok(SecretRequest::new(group, key).version(version))
    }
}

impl HttpJson {
    fn ask(&self, request: &SecretRequest) -> Result<String, InjectionError> {
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

/// Compiles the example in the contract's README as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../../../../wit/README.md")]
struct ContractReadme;

#[cfg(test)]
mod tests;
