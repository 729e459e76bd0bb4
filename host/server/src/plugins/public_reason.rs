//! [`public_reason`]: why a plugin does not load, for the author of its ConfigMap.
//!
//! That author is less trusted than the admin. The reason must not reveal the hash, the existence
//! or the format of a file of the container, nor whether a host of the network answers. The log,
//! the admin port and the readiness page have the complete reason.

use ampoule_components::fetch::{FetchError, FetchErrorKind};
use ampoule_config::{ComponentSource, InjectorConfig};
use ampoule_engine::{LoadError, LoadErrorKind};
use ampoule_telemetry::reason::one_line;

/// The reason for everything that depends on more than the ConfigMap itself.
const HIDDEN: &str = "its component cannot be loaded; the log of the webhook has the reason";

/// Returns the reason without anything that the author of the ConfigMap does not know already.
/// `config` is `None` if the document of the ConfigMap is not valid.
pub(super) fn public_reason(error: &anyhow::Error, config: Option<&InjectorConfig>) -> String {
    // The document, and the limits for ConfigMaps.
    let Some(config) = config else { return one_line(error) };
    let is_own = matches!(&config.component, ComponentSource::ConfigMap { name, key: _ } if *name == config.name);
    let known = match (error.downcast_ref::<FetchError>(), error.downcast_ref::<LoadError>()) {
        (Some(fetch), _) => fetch_reason(&fetch.kind, is_own),
        (None, Some(load)) => load_reason(&load.kind, is_own),
        (None, None) => None,
    };
    known.unwrap_or_else(|| format!("injector {}: {HIDDEN}", config.name))
}

fn fetch_reason(kind: &FetchErrorKind, is_own: bool) -> Option<String> {
    match kind {
        FetchErrorKind::NoBuiltin => Some(kind.to_string()),
        FetchErrorKind::NoKey { .. } | FetchErrorKind::Unpack { .. } | FetchErrorKind::TooLarge { .. } if is_own => {
            Some(kind.to_string())
        }
        FetchErrorKind::Pin { .. } if is_own => Some("the component does not have the pinned SHA-256".to_owned()),
        FetchErrorKind::Unsigned { .. } if is_own => {
            Some("the component has no valid signature by a required key".to_owned())
        }
        _ => None,
    }
}

fn load_reason(kind: &LoadErrorKind, is_own: bool) -> Option<String> {
    let is_about_settings = matches!(kind, LoadErrorKind::Settings(_) | LoadErrorKind::SettingsSize { .. });
    (is_own || is_about_settings).then(|| kind.to_string())
}

#[cfg(test)]
mod tests {
    use ampoule_components::fetch::OciError;
    use ampoule_config::Config;

    use super::*;

    fn config(source: &str) -> InjectorConfig {
        let text = format!("injectors: [{{ name: mine, component: '{source}' }}]");
        Config::parse(&text, &[]).unwrap().injectors.remove(0)
    }

    fn fetch(kind: FetchErrorKind) -> anyhow::Error {
        let place = "file:/etc/shadow".to_owned();
        anyhow::Error::from(FetchError { place, kind }).context("injector mine")
    }

    fn load(kind: LoadErrorKind) -> anyhow::Error {
        LoadError { plugin: None, source: None, digest: "ab".repeat(32), kind }.into()
    }

    #[test]
    fn the_author_of_a_config_map_learns_nothing_about_files_and_hosts() {
        let hidden = format!("injector mine: {HIDDEN}");
        let pin = || fetch(FetchErrorKind::Pin { pinned: "0".repeat(64), found: "f".repeat(64) });
        let missing =
            || FetchErrorKind::File { what: "the component".to_owned(), error: std::io::ErrorKind::NotFound.into() };
        let (file, own, other) =
            (config("file:/etc/shadow"), config("configmap:mine/plugin.wasm"), config("configmap:x/y"));
        for (what, error, config, expected) in [
            ("a wrong pin of a file", pin(), &file, hidden.as_str()),
            ("a file that does not exist", fetch(missing()), &file, &hidden),
            ("a file that is not WebAssembly", load(LoadErrorKind::NotWasm), &file, &hidden),
            ("another error", anyhow::anyhow!("grants.http.caFile: /etc/x: not found"), &own, &hidden),
            ("a wrong pin of another ConfigMap", pin(), &other, &hidden),
            ("a wrong pin", pin(), &own, "the component does not have the pinned SHA-256"),
            ("its own component", load(LoadErrorKind::Empty), &own, "the file is empty"),
            (
                "its settings",
                load(LoadErrorKind::Settings("no x".to_owned())),
                &file,
                "the plugin rejected its settings (injectors[].settings): no x",
            ),
        ] {
            assert_eq!(public_reason(&error, Some(config)), expected, "{what}");
        }
        let document = anyhow::anyhow!("ConfigMap mine: injector.yaml: is wrong");
        assert_eq!(public_reason(&document, None), "ConfigMap mine: injector.yaml: is wrong");
    }

    #[test]
    fn a_closed_port_looks_like_an_open_one_to_the_author_of_a_config_map() {
        let config = config("oci:registry.example/a:1");
        let host = || "registry.example".to_owned();
        let errors = [
            OciError::Unreachable { host: host(), reason: "connection refused".to_owned() },
            OciError::Deadline { host: host(), limit: std::time::Duration::from_secs(60) },
            OciError::ProhibitedAddress { host: host() },
        ];
        for error in errors {
            let reason = public_reason(&fetch(FetchErrorKind::Oci(error)), Some(&config));
            assert_eq!(reason, format!("injector mine: {HIDDEN}"));
        }
    }
}
