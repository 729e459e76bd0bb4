//! Users and passwords of registries: [`Credentials`], from a docker `config.json` as `docker
//! login` and Kubernetes' pull secrets contain it.
//!
//! Credential helpers are other programs, and Ampoule runs none. No message contains a password.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use serde::Deserialize;

use crate::error::OciError;
use ampoule_config::OciReference;
use ampoule_net::file;

/// The name under which docker stores Docker Hub's credentials, and the name in references.
const DOCKER_HUB: (&str, &str) = ("index.docker.io", "docker.io");

/// The content of the credentials file; empty without a file.
#[derive(Default)]
pub(crate) struct Credentials {
    path: Option<PathBuf>,
    file: DockerConfig,
}

/// How to log in to a registry.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Login {
    /// A user.
    User { user: String, password: String },
    /// A refresh token, which the token server exchanges (`az acr login` stores one).
    IdentityToken(String),
}

/// The used part of the file; other programs store more in it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DockerConfig {
    auths: BTreeMap<String, RegistryAuth>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase", default)]
struct RegistryAuth {
    /// `USER:PASSWORD` in base64.
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

// === impl Credentials ===

impl Credentials {
    /// Reads the given file, or docker's own if it exists: in the directory `DOCKER_CONFIG`, or
    /// else in `~/.docker`.
    pub(crate) fn read(configured: Option<&Path>) -> Result<Self, OciError> {
        let Some(path) = configured.map(Path::to_owned).or_else(docker_default_path) else {
            return Ok(Self::default());
        };
        let wrong = |reason: String| OciError::Credentials { path: path.clone(), reason };
        let text = match file::read(&path, file::SMALL) {
            Ok(text) => text,
            Err(error) if configured.is_none() && error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(wrong(format!("cannot be read: {error}"))),
        };
        // The parser's message could contain a part of a password.
        let file = serde_json::from_slice(&text).map_err(|error| {
            wrong(format!("is not a docker config.json (line {}, column {})", error.line(), error.column()))
        })?;
        Ok(Self { path: Some(path), file })
    }

    /// Credentials for a repository: the longest matching prefix wins.
    pub(crate) fn login(&self, reference: &OciReference) -> Result<Option<Login>, OciError> {
        let Some(path) = &self.path else { return Ok(None) };
        let name = full_name(reference);
        let matching = self.file.auths.iter().filter_map(|(key, entry)| {
            let key = normalize(key);
            let rest = name.strip_prefix(&key)?;
            (rest.is_empty() || rest.starts_with('/')).then_some((key.len(), entry))
        });
        let Some((_, entry)) = matching.max_by_key(|(length, _)| *length) else { return Ok(None) };
        entry.login().map_err(|reason| {
            let reason = format!("has {reason} for {}", reference.registry());
            OciError::Credentials { path: path.clone(), reason }
        })
    }

    /// Explains why there are no credentials for a registry.
    pub(crate) fn hint(&self, reference: &OciReference) -> String {
        let Some(path) = &self.path else {
            return "no credentials file is configured or found".to_owned();
        };
        let helpers = &self.file.cred_helpers;
        let helper = helpers.get(reference.registry()).or(self.file.creds_store.as_ref());
        let path = path.display();
        match helper {
            Some(helper) => format!("{path} delegates to docker-credential-{helper}, which Ampoule does not run"),
            None => format!("{path} has no entry for it"),
        }
    }
}

// === impl RegistryAuth ===

impl RegistryAuth {
    fn login(&self) -> Result<Option<Login>, &'static str> {
        // As docker does: Azure stores a user without a password beside the token.
        if !self.identitytoken.is_empty() {
            return Ok(Some(Login::IdentityToken(self.identitytoken.clone())));
        }
        if !self.username.is_empty() {
            let (user, password) = (self.username.clone(), self.password.clone());
            return Ok(Some(Login::User { user, password }));
        }
        if !self.auth.is_empty() {
            let decoded = BASE64.decode(self.auth.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let decoded = decoded.ok_or("an auth that is not base64 of text")?;
            let (user, password) = decoded.split_once(':').ok_or("an auth without a colon")?;
            return Ok(Some(Login::User { user: user.to_owned(), password: password.to_owned() }));
        }
        // `docker login` writes an empty entry if a helper stores the password.
        Ok(None)
    }
}

#[expect(clippy::disallowed_methods, reason = "docker's own settings")]
fn docker_default_path() -> Option<PathBuf> {
    let folder = std::env::var("DOCKER_CONFIG").ok().filter(|folder| !folder.is_empty()).map(PathBuf::from);
    Some(folder.or_else(|| Some(std::env::home_dir()?.join(".docker")))?.join("config.json"))
}

fn full_name(reference: &OciReference) -> String {
    format!("{}/{}", reference.registry(), reference.repository())
}

/// Removes what docker adds to a registry's name in a URL such as `https://index.docker.io/v1/`.
fn normalize(key: &str) -> String {
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
        login.map(|login| match login {
            Login::User { user, password } => format!("{user} {password}"),
            Login::IdentityToken(token) => format!("token {token}"),
        })
    }

    #[test]
    fn the_longest_matching_prefix_wins() {
        let json = r#"{
            "auths": {
                "ghcr.io": { "auth": "YTpi" },
                "ghcr.io/team": { "username": "team", "password": "c:d" },
                "ghcr.io/te": { "username": "no", "password": "no" },
                "https://localhost:5000/v2/": { "username": "local", "password": "" },
                "https://index.docker.io/v1/": { "auth": "aHViOng6eQ==" },
                "azure.example": { "auth": "MDAwMDAwMDA6", "identitytoken": "refresh" },
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
            ("azure.example/a:1", Some("token refresh")),
            ("empty.example/a:1", None),
        ] {
            assert_eq!(user(json, reference).as_deref(), expected, "{reference}");
        }
    }

    #[test]
    fn an_error_contains_no_password() {
        let reference = "ghcr.io/a:1".parse().unwrap();
        for (json, expected) in [
            (r#"{ "auths": { "ghcr.io": "c2VjcmV0" } }"#, "is not a docker config.json (line 1, column 34)"),
            (r#"{ "auths": { "ghcr.io": { "auth": "c2V!" } } }"#, "has an auth that is not base64 of text for ghcr.io"),
            (r#"{ "auths": { "ghcr.io": { "auth": "c2Vj" } } }"#, "has an auth without a colon for ghcr.io"),
        ] {
            let error = credentials(json).and_then(|credentials| credentials.login(&reference)).err().unwrap();
            let OciError::Credentials { reason, .. } = error else { panic!("{error}") };
            assert_eq!(reason, expected, "{json}");
        }
    }

    #[test]
    fn explains_why_there_are_no_credentials() {
        let reference = "ghcr.io/a:1".parse().unwrap();
        for (json, expected) in [
            ("{}", "has no entry for it"),
            (r#"{ "credsStore": "desktop" }"#, "docker-credential-desktop, which Ampoule does not run"),
            (r#"{ "credHelpers": { "ghcr.io": "gh" } }"#, "docker-credential-gh, which Ampoule does not run"),
        ] {
            let hint = credentials(json).unwrap().hint(&reference);
            assert!(hint.ends_with(expected), "{hint}");
        }
        assert_eq!(Credentials::default().hint(&reference), "no credentials file is configured or found");
    }

    #[test]
    fn a_configured_file_must_exist() {
        let error = Credentials::read(Some(Path::new("/nowhere/config.json"))).err().unwrap().to_string();
        assert_eq!(
            error,
            "the file /nowhere/config.json (registries.credentialsFile, --credentials-file) cannot be read: \
             No such file or directory (os error 2)"
        );
    }
}
