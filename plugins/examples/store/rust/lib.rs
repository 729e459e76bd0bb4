//! A secret backend in Rust: sets environment variables with values that it fetches from a store
//! over HTTPS. The webhook adds the credential of the store to the requests.

use ampoule_plugin_sdk::{http, names::env_name, prelude::*};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Settings {
    url: String,
}

struct Example {
    url: String,
    env_prefix: String,
}

ampoule_plugin_sdk::export!(Example);

impl Injector for Example {
    type Settings = Settings;
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const DELIVERIES: &'static [Delivery] = &[Delivery::EnvVar];
    const SETTINGS_SCHEMA: &'static str = r#"{
        "type": "object",
        "properties": { "url": { "type": "string" } },
        "required": ["url"],
        "additionalProperties": false
    }"#;

    fn new(settings: Settings, conventions: &Conventions) -> Result<Self, String> {
        if !settings.url.starts_with("https://") {
            return Err("url: must begin with https://".to_owned());
        }
        Ok(Self { url: settings.url, env_prefix: conventions.env_prefix.clone() })
    }

    // Decides. A promise names the secret in the store, and is no secret.
    fn inject(&self, request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        let SecretRequest { group, key, .. } = request;
        if request.delivery == Delivery::File {
            return Err(InjectionError::unsupported("files are not supported, only environment variables"));
        }
        let promise = [http::url_segment("group", group)?, http::url_segment("key", key)?].join("/");
        let default = || format!("{}{}", self.env_prefix, key.to_uppercase());
        let name = request.env_var.clone().unwrap_or_else(default);
        Ok(vec![Edit::set_env(env_name(&name)?, EnvSource::promise(promise))])
    }

    // Fetches the value of a promise. A request without an answer is `unavailable`.
    fn fetch(&self, promise: &str) -> Result<FetchedValue, InjectionError> {
        let response = http::get(format!("{}/{promise}", self.url)).send()?;
        match response.status {
            200 => Ok(FetchedValue::new(response.body)),
            401 | 403 => Err(InjectionError::internal("the store refuses the credential of the webhook")),
            404 => Err(InjectionError::not_found(format!("the store has no secret {promise}"))),
            status => {
                let retry_after = response.header("retry-after").and_then(|seconds| seconds.parse().ok());
                Err(InjectionError::Unavailable {
                    text: format!("the store answers with status {status}"),
                    retry_after,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ampoule_plugin_sdk::testing::{Harness, answer_http, show_value};

    use super::*;

    fn plugin() -> Harness<Example> {
        Harness::new().settings(r#"{ "url": "https://secrets.example.com/v1" }"#)
    }

    #[test]
    fn a_key_becomes_a_variable_from_a_promise() {
        let expected = Edit::set_env("_FSEC_PASS/WORD", EnvSource::promise("database/pass%2Fword"));
        assert_eq!(plugin().inject(&SecretRequest::new("database", "pass/word")), Ok(vec![expected]));
    }

    #[test]
    fn a_group_or_key_that_is_no_segment_of_a_path_is_invalid() {
        let answer = plugin().inject(&SecretRequest::new("..", "password"));
        assert!(matches!(answer, Err(InjectionError::InvalidRequest(_))));
    }

    #[test]
    fn the_value_of_a_promise_is_the_body_of_the_answer() {
        answer_http(|request| {
            assert_eq!(request.url, "https://secrets.example.com/v1/database/password");
            Ok(http::Response { status: 200, headers: Vec::new(), body: b"hush".to_vec() })
        });
        assert_eq!(show_value(&plugin().fetch("database/password")), "value hush");
    }
}
