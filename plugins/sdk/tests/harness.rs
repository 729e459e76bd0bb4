//! A plugin that uses the SDK, run by the harness: settings, the life cycle of an instance, log
//! lines, messages.
//!
//! `plugins/bundle` and `tests/sandbox` test plugins as components.

use ampoule_plugin_sdk::{
    log::Level,
    prelude::*,
    runtime::{self, Instance},
    testing::{self, Harness},
};
use serde::Deserialize;

struct Greeter {
    greeting: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Settings {
    greeting: Greeting,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Greeting {
    words: Vec<String>,
}

ampoule_plugin_sdk::export!(Greeter);

impl Injector for Greeter {
    type Settings = Settings;
    const NAME: &'static str = "greeter";
    const VERSION: &'static str = "2.1.0";
    const MOUNTS: &'static [MountRequirement] = &[MountRequirement::EnvVar];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(settings: Settings, conventions: &Conventions) -> Result<Self, String> {
        if settings.greeting.words.is_empty() {
            return Err("greeting.words: must contain at least one word".to_owned());
        }
        Ok(Self { greeting: format!("{} {}", conventions.profile, settings.greeting.words.join(" ")) })
    }

    fn inject(&self, request: &SecretRequest, pod: &PodView) -> Result<Vec<Edit>, InjectionError> {
        if request.mount == MountRequirement::File {
            log::warn("a file was requested");
            return Err(InjectionError::unsupported(format!("{request} as a file")));
        }
        Ok(vec![Edit::set_env("GREETING", EnvSource::literal(format!("{} {}", self.greeting, pod.namespace)))])
    }
}

const SETTINGS: &str = r#"{"greeting": {"words": ["good", "day"]}}"#;

fn harness() -> Harness<Greeter> {
    Harness::new().settings(SETTINGS)
}

#[test]
fn a_plugin_sees_its_settings_the_conventions_and_the_pod() {
    let edits = harness().profile("flyte-v2").pod(PodView::new("team-a")).inject(&SecretRequest::new("g", "k"));
    assert_eq!(edits, Ok(vec![Edit::set_env("GREETING", EnvSource::literal("flyte-v2 good day team-a"))]));
}

#[test]
fn an_answer_and_its_log_lines_are_typed() {
    let answer = harness().inject(&SecretRequest::new("group", "key").version("3").as_file());
    assert_eq!(answer, Err(InjectionError::Unsupported("group/key@3 as a file".to_owned())));
    assert_eq!(testing::logs(), [(Level::Warn, "a file was requested".to_owned())]);
    assert_eq!(testing::logs(), [], "logs() takes the lines");
}

#[test]
fn invalid_settings_are_rejected_with_the_path_of_the_key() {
    let refused = [
        ("{}", "missing field `greeting` at line 1 column 2"),
        ("[]", "settings must be a JSON object"),
        ("", "settings must be a JSON object"),
        ("{", "EOF while parsing an object at line 1 column 1"),
        (r#"{"greeting": {"words": []}}"#, "greeting.words: must contain at least one word"),
        (
            r#"{"greeting": {"words": ["a", 1]}}"#,
            "greeting.words[1]: invalid type, expected a string at line 1 column 30",
        ),
        (
            r#"{"greeting": {"words": [], "wrods": 1}}"#,
            "greeting.wrods: unknown field `wrods`, expected `words` at line 1 column 34",
        ),
    ];
    for (settings, expected) in refused {
        assert_eq!(harness().settings(settings).configure(), Err(expected.to_owned()), "{settings}");
    }
}

#[test]
fn an_instance_is_configured_exactly_once_and_before_inject() {
    let conventions = Conventions {
        profile: "flyte-v1".to_owned(),
        env_prefix: "_FSEC_".to_owned(),
        mount_directory: "/etc/flyte/secrets".to_owned(),
    };
    let instance = Instance::<Greeter>::new();
    let early = instance.inject(&SecretRequest::new("g", "k"), &PodView::new("default"));
    assert_eq!(early, Err(InjectionError::Internal("inject was called before configure".to_owned())));
    assert_eq!(instance.configure(SETTINGS, &conventions), Ok(()));
    let again = instance.configure(SETTINGS, &conventions);
    assert_eq!(again, Err("configure was called twice on one instance".to_owned()));
}

#[test]
fn describe_returns_name_version_and_mounts() {
    let info = runtime::describe::<Greeter>();
    assert_eq!((info.name.as_str(), info.version.as_str()), ("greeter", "2.1.0"));
    assert_eq!(info.mounts, [MountRequirement::EnvVar]);
}
