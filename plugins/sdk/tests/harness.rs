//! A plugin that uses the SDK, run by the harness: settings, the life cycle of an instance, log
//! lines, messages.
//!
//! `plugins/bundle` and `tests/sandbox` test plugins as components.

use ampoule_plugin_sdk::{
    log::Level,
    prelude::*,
    runtime::{self, Instance},
    testing::{self, Harness, PodBuilder, show, show_value},
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
    const DELIVERIES: &'static [Delivery] = &[Delivery::Any, Delivery::EnvVar, Delivery::File];
    const SETTINGS_SCHEMA: &'static str = r#"{"type": "object"}"#;

    fn new(settings: Settings, conventions: &Conventions) -> Result<Self, String> {
        if settings.greeting.words.is_empty() {
            return Err("greeting.words: must contain at least one word".to_owned());
        }
        Ok(Self { greeting: format!("{} {}", conventions.profile, settings.greeting.words.join(" ")) })
    }

    fn inject(&self, request: &SecretRequest, pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        if request.delivery == Delivery::File {
            log::warn("a file was requested");
            return Err(InjectionError::unsupported(format!("{request} as a file")));
        }
        Ok(vec![Edit::set_env("GREETING", EnvSource::literal(format!("{} {}", self.greeting, pod.namespace())))])
    }

    fn fetch(&self, promise: &str) -> Result<FetchedValue, InjectionError> {
        match promise {
            "" => Err(InjectionError::unavailable("no greeting").retry_after(7)),
            name => Ok(FetchedValue::new(format!("{} {name}", self.greeting)).version("3").expires_in(60)),
        }
    }

    fn check(&self) -> Result<(), String> {
        if self.greeting.ends_with("bye") { Err("no greeting".to_owned()) } else { Ok(()) }
    }
}

/// A plugin without the optional functions.
struct Silent;

impl Injector for Silent {
    type Settings = serde::de::IgnoredAny;
    const NAME: &'static str = "silent";
    const VERSION: &'static str = "1.0.0";
    const DELIVERIES: &'static [Delivery] = &[];
    const SETTINGS_SCHEMA: &'static str = "{}";

    fn new(_settings: Self::Settings, _conventions: &Conventions) -> Result<Self, String> {
        Ok(Self)
    }

    fn inject(&self, _request: &SecretRequest, _pod: &Pod) -> Result<Vec<Edit>, InjectionError> {
        Ok(Vec::new())
    }
}

const SETTINGS: &str = r#"{"greeting": {"words": ["good", "day"]}}"#;

fn harness() -> Harness<Greeter> {
    Harness::new().settings(SETTINGS)
}

#[test]
fn a_plugin_sees_its_settings_the_conventions_and_the_pod() {
    let edits = harness().profile("flyte-v2").pod(PodBuilder::new("team-a")).inject(&SecretRequest::new("g", "k"));
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
        ("{}", "missing field `greeting`"),
        ("[]", "settings must be a JSON object"),
        ("", "settings must be a JSON object"),
        ("{", "EOF while parsing an object"),
        (r#"{"greeting": {"words": []}}"#, "greeting.words: must contain at least one word"),
        (r#"{"greeting": {"words": ["a", 1]}}"#, "greeting.words[1]: invalid type, expected a string"),
        (r#"{"greeting": {"words": [], "wrods": 1}}"#, "greeting: unknown field `wrods`, expected `words`"),
    ];
    for (settings, expected) in refused {
        assert_eq!(harness().settings(settings).configure(), Err(expected.to_owned()), "{settings}");
    }
}

#[test]
fn an_instance_is_configured_exactly_once_and_before_inject() {
    let conventions = Conventions::new("flyte-v1");
    let instance = Instance::<Greeter>::new();
    let early = instance.inject(&SecretRequest::new("g", "k"), &PodBuilder::new("default").build());
    assert_eq!(early, Err(InjectionError::Internal("inject was called before configure".to_owned())));
    assert_eq!(instance.fetch("x"), Err(InjectionError::Internal("fetch was called before configure".to_owned())));
    assert_eq!(instance.check(), Err("check was called before configure".to_owned()));
    assert_eq!(instance.configure(SETTINGS, &conventions), Ok(()));
    let again = instance.configure(SETTINGS, &conventions);
    assert_eq!(again, Err("configure was called twice on one instance".to_owned()));
}

#[test]
fn describe_returns_the_json_of_the_contract() {
    assert_eq!(
        runtime::describe::<Greeter>(),
        r#"{"name":"greeter","version":"2.1.0","deliveries":["env-var","file"],"settingsSchema":{"type": "object"}}"#
    );
    assert_eq!(
        runtime::describe::<Silent>(),
        r#"{"name":"silent","version":"1.0.0","deliveries":[],"settingsSchema":{}}"#
    );
}

#[test]
fn a_promise_is_answered_with_a_value_or_an_error() {
    for (promise, expected) in
        [("sir", "value flyte-v1 good day sir, version 3, for 60 s"), ("", "unavailable for 7 s: no greeting")]
    {
        assert_eq!(show_value(&harness().fetch(promise)), expected);
    }
    let silent = Harness::<Silent>::new();
    assert_eq!(show_value(&silent.fetch("x")), "internal: this plugin makes no promises");
}

#[test]
fn a_plugin_can_check_its_backend() {
    assert_eq!(harness().check(), Ok(()));
    let bye = Harness::<Greeter>::new().settings(r#"{"greeting": {"words": ["bye"]}}"#);
    assert_eq!(bye.check(), Err("no greeting".to_owned()));
    assert_eq!(Harness::<Silent>::new().check(), Ok(()));
}

#[test]
fn a_pod_of_a_test_has_the_data_of_its_builder() {
    let pod = PodBuilder::new("team-a")
        .name("web-")
        .service_account("robot")
        .operating_system("linux")
        .label("b", "2")
        .label("a", "1")
        .annotation("note", "x")
        .container("main")
        .init_container("setup")
        .image("setup", "example.org/setup:1")
        .build();
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!((pod.namespace(), pod.name(), pod.service_account()), ("team-a".into(), "web-".into(), "robot".into()));
    assert_eq!(pod.operating_system().as_deref(), Some("linux"));
    assert_eq!((pod.labels(), pod.annotations()), (pairs(&[("a", "1"), ("b", "2")]), pairs(&[("note", "x")])));
    assert_eq!(
        (pod.label("b").as_deref(), pod.label("c"), pod.annotation("note").as_deref()),
        (Some("2"), None, Some("x"))
    );
    assert_eq!((pod.containers(), pod.init_containers()), (vec!["main".to_owned()], vec!["setup".to_owned()]));
    assert_eq!((pod.image("setup").as_deref(), pod.image("main")), (Some("example.org/setup:1"), None));
}

#[test]
fn every_edit_has_a_text() {
    let container = InitContainer::new("pull", "example.org/pull:1")
        .args(["--once"])
        .env("A", "1")
        .env_from_secret("B", SecretKeyRef::new("s", "k"))
        .mount("data", "/data")
        .mount_writable("out", "/out")
        .resources(Resources::exactly([("cpu", "1")]))
        .restricted()
        .run_as_user(7)
        .run_as_group(8)
        .read_only_root_filesystem()
        .position(InitContainerPosition::First)
        .merge_json(r#"{"tty": true}"#);
    let pull = "init container pull of example.org/pull:1
  args [\"--once\"]
  env A = 1
  env B = key k of s
  mount data at /data, read-only
  mount out at /out
  requests cpu=1
  limits cpu=1
  restricted
  user 7
  group 8
  read-only root filesystem
  position first
  merge {\"tty\": true}";
    for (edit, expected) in [
        (Edit::set_env("A", EnvSource::literal("1")), "env A = 1"),
        (Edit::set_env("A", SecretKeyRef::new("s", "k").optional(true)), "env A = key k of s optional"),
        (Edit::set_env("A", EnvSource::promise("s/k")), "env A = promise s/k"),
        (Edit::add_volume("v", SecretVolume::new("s").item("k", "p")), "volume v = s[k → p]"),
        (Edit::add_volume("v", MemoryVolume::new().size_limit("1Mi")), "volume v = memory up to 1Mi"),
        (Edit::add_volume("v", VolumeSource::json("{}")), "volume v = json {}"),
        (Edit::mount_volume(VolumeMount::new("v", "/p").sub_path("s")), "mount v at /p, read-only, sub-path s"),
        (Edit::add_init_container(container), pull),
        (Edit::default_annotation("k", "v"), "annotation k = v"),
        (Edit::own_annotation("k", "v"), "own annotation k = v"),
        (Edit::add_image_pull_secret("s"), "image pull secret s"),
        (Edit::warn("old"), "warning: old"),
    ] {
        assert_eq!(show(&Ok(vec![edit])), expected);
    }
}
