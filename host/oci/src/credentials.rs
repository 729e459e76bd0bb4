//! Users and passwords of registries: [`Credentials`], from a docker `config.json` as `docker login` and Kubernetes' pull secrets have it.
//!
//! Helpers are other programs, and none is run. Nothing here prints a password.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use serde::Deserialize;

use super::OciError;
use ampoule_config::OciReference;
use ampoule_net::file;

/// Docker Hub's own, which never became its name.
const DOCKER_HUB: (&str, &str) = ("index.docker.io", "docker.io");

/// What is known of users; empty without a file.
#[derive(Default)]
pub(super) struct Credentials {
    path: Option<PathBuf>,
    file: File,
}

/// A user of a registry.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

/// The file, as far as it is read: other programs keep more in it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    auths: BTreeMap<String, Entry>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase", default)]
struct Entry {
    /// `USER:PASSWORD` in base64.
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

// === impl Credentials ===

impl Credentials {
    /// Reads the file that is named, or docker's own if there is one: in the folder `DOCKER_CONFIG`, or else in `~/.docker`.
    pub(super) fn read(named: Option<&Path>) -> Result<Self, OciError> {
        let Some(path) = named.map(Path::to_owned).or_else(dockers_own) else { return Ok(Self::default()) };
        let wrong = |reason: String| OciError::Credentials { path: path.clone(), reason };
        let text = match file::read(&path, file::SMALL) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(wrong(format!("cannot be read: {error}"))),
        };
        // The parser's own words could hold a part of a password.
        let file = serde_json::from_slice(&text).map_err(|error| {
            wrong(format!("are no docker config.json (line {}, column {})", error.line(), error.column()))
        })?;
        Ok(Self { path: Some(path), file })
    }

    /// Who to be for a repository: of the entries, the one that says most of its name.
    pub(super) fn login(&self, reference: &OciReference) -> Result<Option<Login>, OciError> {
        let (Self { path: Some(path), file }, name) = (self, full_name(reference)) else { return Ok(None) };
        let matching = file.auths.iter().filter_map(|(key, entry)| {
            let key = normal(key);
            let rest = name.strip_prefix(&key)?;
            (rest.is_empty() || rest.starts_with('/')).then_some((key.len(), entry))
        });
        let Some((_, entry)) = matching.max_by_key(|(length, _)| *length) else { return Ok(None) };
        entry.login().map_err(|reason| {
            let reason = format!("for {} {reason}", reference.registry());
            OciError::Credentials { path: path.clone(), reason }
        })
    }

    /// Why there is no user for a registry.
    pub(super) fn hint(&self, reference: &OciReference) -> String {
        let Self { path, file } = self;
        let Some(path) = path else { return "no file with some is named or there".to_owned() };
        let File { auths: _, creds_store, cred_helpers } = file;
        let helper = cred_helpers.get(reference.registry()).or(creds_store.as_ref());
        let path = path.display();
        match helper {
            Some(helper) => format!("{path} leaves them to the program docker-credential-{helper}, which is not run"),
            None => format!("{path} has none for it"),
        }
    }
}

// === impl Entry ===

impl Entry {
    fn login(&self) -> Result<Option<Login>, &'static str> {
        let Self { auth, username, password, identitytoken } = self;
        if !username.is_empty() {
            return Ok(Some(Login { user: username.clone(), password: password.clone() }));
        }
        if !auth.is_empty() {
            let decoded = BASE64.decode(auth.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let decoded = decoded.ok_or("have an auth that is no base64 of text")?;
            let (user, password) = decoded.split_once(':').ok_or("have an auth without a colon")?;
            return Ok(Some(Login { user: user.to_owned(), password: password.to_owned() }));
        }
        if !identitytoken.is_empty() {
            return Err("are an identity token, which is not supported; use a user and a password");
        }
        // As `docker login` leaves it where a helper keeps the password.
        Ok(None)
    }
}

#[expect(clippy::disallowed_methods, reason = "these are docker's own settings, and have no other place")]
fn dockers_own() -> Option<PathBuf> {
    let folder = std::env::var("DOCKER_CONFIG").ok().filter(|folder| !folder.is_empty()).map(PathBuf::from);
    Some(folder.or_else(|| Some(std::env::home_dir()?.join(".docker")))?.join("config.json"))
}

fn full_name(reference: &OciReference) -> String {
    format!("{}/{}", reference.registry(), reference.repository())
}

/// Entries may be addresses, such as `https://index.docker.io/v1/`.
fn normal(key: &str) -> String {
    let key = key.strip_prefix("https://").or(key.strip_prefix("http://")).unwrap_or(key).trim_end_matches('/');
    let key = key.strip_suffix("/v1").or(key.strip_suffix("/v2")).unwrap_or(key);
    let (hub, name) = DOCKER_HUB;
    if key == hub { name.to_owned() } else { key.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn credentials(json: &str) -> Result<Credentials, OciError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), json).unwrap();
        Credentials::read(Some(file.path()))
    }

    fn user(json: &str, reference: &str) -> Option<String> {
        let login = credentials(json).unwrap().login(&reference.parse().unwrap()).unwrap();
        login.map(|Login { user, password }| format!("{user} {password}"))
    }

    #[test]
    fn finds_the_entry_that_says_most() {
        let json = r#"{
            "auths": {
                "ghcr.io": { "auth": "YTpi" },
                "ghcr.io/team": { "username": "team", "password": "c:d" },
                "ghcr.io/te": { "username": "no", "password": "no" },
                "https://localhost:5000/v2/": { "username": "local", "password": "" },
                "https://index.docker.io/v1/": { "auth": "aHViOng6eQ==" },
                "empty.example": {}
            },
            "credsStore": "desktop", "HttpHeaders": {}
        }"#;
        for (reference, expected) in [
            ("ghcr.io/other/a:1", Some("a b")),
            ("ghcr.io/team/a:1", Some("team c:d")),
            ("localhost:5000/a:1", Some("local ")),
            ("docker.io/team/a:1", Some("hub x:y")),
            ("localhost:5001/a:1", None),
            ("empty.example/a:1", None),
        ] {
            assert_eq!(user(json, reference).as_deref(), expected, "{reference}");
        }
    }

    #[test]
    fn says_what_is_wrong_without_a_password() {
        let reference = "ghcr.io/a:1".parse().unwrap();
        for (json, expected) in [
            (r#"{ "auths": { "ghcr.io": "c2VjcmV0" } }"#, "are no docker config.json (line 1, column 34)"),
            (r#"{ "auths": { "ghcr.io": { "auth": "c2V!" } } }"#, "for ghcr.io have an auth that is no base64 of text"),
            (r#"{ "auths": { "ghcr.io": { "auth": "c2Vj" } } }"#, "for ghcr.io have an auth without a colon"),
            (
                r#"{ "auths": { "ghcr.io": { "identitytoken": "secret" } } }"#,
                "for ghcr.io are an identity token, which is not supported; use a user and a password",
            ),
        ] {
            let error = credentials(json).and_then(|credentials| credentials.login(&reference)).err().unwrap();
            let OciError::Credentials { reason, .. } = error else { panic!("{error}") };
            assert_eq!(reason, expected, "{json}");
        }
    }

    #[test]
    fn says_why_there_is_no_user() {
        let reference = "ghcr.io/a:1".parse().unwrap();
        for (json, expected) in [
            ("{}", "has none for it"),
            (r#"{ "credsStore": "desktop" }"#, "the program docker-credential-desktop, which is not run"),
            (r#"{ "credHelpers": { "ghcr.io": "gh" } }"#, "the program docker-credential-gh, which is not run"),
        ] {
            let hint = credentials(json).unwrap().hint(&reference);
            assert!(hint.ends_with(expected), "{hint}");
        }
        assert_eq!(Credentials::default().hint(&reference), "no file with some is named or there");
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let error = Credentials::read(Some(Path::new("/nowhere/config.json"))).err().unwrap().to_string();
        assert_eq!(
            error,
            "the credentials in /nowhere/config.json (registries.credentialsFile, --credentials-file) cannot be read: \
             No such file or directory (os error 2)"
        );
    }
}
