//! Imports `wasi:http/outgoing-handler`, which no plugin has been granted.
//! The host refuses it at load, by the import's name; so the shape of the import does not matter and is not WASI's own.

use ampoule_plugin_sdk::prelude::*;

struct WantsHttp;

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated")]
mod http {
    wit_bindgen::generate!({
        inline: r"
            package ampoule:wants-http;

            world wants-http {
                import wasi:http/outgoing-handler@0.2.3;
            }

            package wasi:http@0.2.3 {
                interface outgoing-handler {
                    handle: func(url: string) -> string;
                }
            }
        ",
        generate_all,
    });
}

impl Injector for WantsHttp {
    type Settings = serde::de::IgnoredAny;
    const NAME: &'static str = "wants-http";
    const VERSION: &'static str = "1.0.0";
    const MOUNTS: &'static [MountRequirement] = &[];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(_settings: Self::Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self)
    }

    fn inject(&self, request: &SecretRequest, _pod: &PodView) -> Result<Vec<Edit>, InjectionError> {
        let answer = http::wasi::http::outgoing_handler::handle(&format!("https://example.com/{request}"));
        Ok(vec![Edit::set_env("ANSWER", EnvSource::literal(answer))])
    }
}

ampoule_test_guests::guest!(WantsHttp);
