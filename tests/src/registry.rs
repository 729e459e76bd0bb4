//! A real registry: [`Registry`], Debian's `docker-registry` on a free port of the loopback
//! interface, and [`Signer`], which signs its content as cosign does.
//!
//! Registries differ in authentication, so there is one of each kind: none over plain HTTP, a
//! password over TLS, and a token from a separate server.

mod signer;
mod tokens;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use tempfile::TempDir;

pub use self::signer::Signer;
use self::tokens::Tokens;
use crate::{Answer, Connection, Process, Trust, eventually, free_ports, programs::find};

/// It starts within milliseconds.
const READY: Duration = Duration::from_secs(20);
/// The only user; the second line is `htpasswd -nbBC 5` of the two.
const USER: (&str, &str) = ("team", "a password");
const HTPASSWD: &str = "team:$2b$04$WQiP5Svh7lz0rWajkc8ifOqo2bl7ftut1wkaV5cSE9JWiCPz2wqNe\n";

/// A running registry. It ends when this value is dropped, or with the test process.
pub struct Registry {
    process: Process,
    address: SocketAddr,
    trust: Option<Trust>,
    tokens: Option<Tokens>,
    folder: TempDir,
}

/// The authentication of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Open,
    Password,
    Token,
}

// === impl Registry ===

impl Registry {
    /// A registry without authentication, over plain HTTP.
    ///
    /// # Errors
    ///
    /// If the program is not installed, or does not start.
    pub async fn open() -> Result<Self> {
        Self::start(Door::Open).await
    }

    /// A registry that authenticates the user of [`Registry::docker_config`] by password, over TLS.
    ///
    /// # Errors
    ///
    /// If the program is not installed, or does not start.
    pub async fn with_password() -> Result<Self> {
        Self::start(Door::Password).await
    }

    /// A registry that requires a token, over TLS. The user of [`Registry::docker_config`] gets
    /// tokens, and anonymous clients get tokens to pull from `public/…`.
    ///
    /// # Errors
    ///
    /// If the program is not installed, or does not start.
    pub async fn with_tokens() -> Result<Self> {
        Self::start(Door::Token).await
    }

    async fn start(door: Door) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ampoule-e2e-registry-").tempdir()?;
        let path = folder.path();
        let [port] = free_ports()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let certificate = (door != Door::Open).then(|| write_certificate(path)).transpose()?;
        let tokens = if door == Door::Token { Some(Tokens::serve(path).await?) } else { None };
        let mut http = json!({ "addr": address.to_string() });
        if door != Door::Open {
            http["tls"] = json!({ "certificate": path.join("tls.crt"), "key": path.join("tls.key") });
        }
        let mut config = json!({
            "version": "0.1",
            "log": { "level": "info" },
            "storage": { "filesystem": { "rootdirectory": path.join("data") } },
            "http": http,
        });
        match &tokens {
            Some(tokens) => config["auth"] = json!({ "token": tokens.configuration() }),
            None if door == Door::Password => {
                fs::write(path.join("htpasswd"), HTPASSWD)?;
                config["auth"] = json!({ "htpasswd": { "realm": "tests", "path": path.join("htpasswd") } });
            }
            None => {}
        }
        // Every JSON document is a YAML document.
        fs::write(path.join("config.yml"), serde_json::to_vec(&config)?)?;
        let mut command = Command::new(find("docker-registry", "AMPOULE_REGISTRY")?);
        command.arg("serve").arg(path.join("config.yml"));
        let process = Process::spawn_in(&mut command, &path.join("log"), path)?;
        let trust = certificate.map(|certificate| Trust::root(&certificate)).transpose()?;
        let this = Self { process, address, trust, tokens, folder };
        let ready = eventually("the registry", READY, async || {
            let status = this.get("/v2/").await?.status;
            ensure!(matches!(status, 200 | 401), "/v2/ is {status}");
            Ok(())
        });
        ready.await.with_context(|| this.process.describe())?;
        Ok(this)
    }

    /// Its address, the first part of a reference.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The token server's address, for plain HTTP; `None` without one.
    #[must_use]
    pub fn tokens(&self) -> Option<&str> {
        self.tokens.as_ref()?.host()
    }

    /// A folder for `DOCKER_CONFIG`, with the only user.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn docker_config(&self) -> Result<PathBuf> {
        let folder = self.folder.path().join("docker");
        fs::create_dir_all(&folder)?;
        let (user, password) = USER;
        let auth = data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes());
        let config = json!({ "auths": { self.host(): { "auth": auth } } });
        fs::write(folder.join("config.json"), serde_json::to_vec(&config)?)?;
        Ok(folder)
    }

    /// The file with the certificate that clients must trust.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("tls.crt")
    }

    /// Sends a request.
    ///
    /// # Errors
    ///
    /// If no answer arrives.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.connect().await?.get(path).await
    }

    /// A stored manifest.
    ///
    /// # Errors
    ///
    /// If it does not exist.
    pub async fn manifest(&self, repository: &str, name: &str) -> Result<serde_json::Value> {
        let accept = [("accept", "application/vnd.oci.image.manifest.v1+json")];
        let path = format!("/v2/{repository}/manifests/{name}");
        let answer = self.connect().await?.send("GET", &path, &accept, "").await?;
        ensure!(answer.status == 200, "{path} is {}: {}", answer.status, answer.text());
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// Stores a manifest or an index of this media type under a tag.
    ///
    /// # Errors
    ///
    /// If the registry refuses it.
    pub async fn put_manifest(&self, repository: &str, tag: &str, kind: &str, body: &serde_json::Value) -> Result<()> {
        let path = format!("/v2/{repository}/manifests/{tag}");
        let body = serde_json::to_vec(body)?;
        let answer = self.connect().await?.send("PUT", &path, &[("content-type", kind)], body).await?;
        ensure!(answer.status == 201, "{path} is {}: {}", answer.status, answer.text());
        Ok(())
    }

    /// The log so far: a line for each request.
    ///
    /// # Errors
    ///
    /// If the file does not exist.
    pub fn log(&self) -> Result<String> {
        self.process.output()
    }

    /// The path of a blob on its disk.
    #[must_use]
    pub fn blob_file(&self, digest: &str) -> PathBuf {
        let hash = digest.trim_start_matches("sha256:");
        let blobs = self.folder.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hash[..2]).join(hash).join("data")
    }

    async fn connect(&self) -> Result<Connection> {
        match &self.trust {
            Some(trust) => Connection::tls(self.address, trust).await,
            None => Connection::plain(self.address).await,
        }
    }
}

/// A self-signed certificate for the loopback address.
fn write_certificate(folder: &Path) -> Result<String> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.self_signed(&key)?.pem();
    fs::write(folder.join("tls.crt"), &certificate)?;
    fs::write(folder.join("tls.key"), key.serialize_pem())?;
    Ok(certificate)
}
