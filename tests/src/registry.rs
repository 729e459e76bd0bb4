//! A real registry: [`Registry`], Debian's `docker-registry` on a free port of the loopback interface, and [`Signer`], which signs what
//! is in it as cosign does.
//!
//! Registries differ in whom they let in, so there is one of each kind: anybody by plain HTTP, a user by password over TLS, and a user
//! by a token that another server gives.

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
/// The one user; the second line is `htpasswd -nbBC 5` of the two.
const USER: (&str, &str) = ("team", "a password");
const HTPASSWD: &str = "team:$2b$04$WQiP5Svh7lz0rWajkc8ifOqo2bl7ftut1wkaV5cSE9JWiCPz2wqNe\n";

/// A running registry. It ends when this is dropped, or with the test process.
pub struct Registry {
    process: Process,
    address: SocketAddr,
    trust: Option<Trust>,
    tokens: Option<Tokens>,
    folder: TempDir,
}

/// Whom a registry lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Open,
    Password,
    Token,
}

// === impl Registry ===

impl Registry {
    /// One that lets anybody do anything, by plain HTTP.
    ///
    /// # Errors
    ///
    /// If the program is not here, or does not start.
    pub async fn open() -> Result<Self> {
        Self::start(Door::Open).await
    }

    /// One that lets in the user of [`Registry::docker_config`] by its password, over TLS.
    ///
    /// # Errors
    ///
    /// If the program is not here, or does not start.
    pub async fn with_password() -> Result<Self> {
        Self::start(Door::Password).await
    }

    /// One that lets in whoever has a token, over TLS. Tokens are given to the user of [`Registry::docker_config`], and to
    /// nobody in particular for pulling from `public/…`.
    ///
    /// # Errors
    ///
    /// If the program is not here, or does not start.
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
        // Every JSON document is one of YAML.
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

    /// Its address, as the first part of a reference.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The server of its tokens, which is asked by plain HTTP; none if it has none.
    #[must_use]
    pub fn tokens(&self) -> Option<&str> {
        self.tokens.as_ref()?.host()
    }

    /// A folder for `DOCKER_CONFIG`, with the one user.
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

    /// The file with the certificate that it is trusted by.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("tls.crt")
    }

    /// Asks it something.
    ///
    /// # Errors
    ///
    /// If no answer comes.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.connect().await?.get(path).await
    }

    /// A manifest as it is stored.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub async fn manifest(&self, repository: &str, name: &str) -> Result<serde_json::Value> {
        let accept = [("accept", "application/vnd.oci.image.manifest.v1+json")];
        let path = format!("/v2/{repository}/manifests/{name}");
        let answer = self.connect().await?.send("GET", &path, &accept, "").await?;
        ensure!(answer.status == 200, "{path} is {}: {}", answer.status, answer.text());
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// Everything that it has logged: a line for each request.
    ///
    /// # Errors
    ///
    /// If the file is gone.
    pub fn log(&self) -> Result<String> {
        self.process.output()
    }

    /// Where a blob is on its disk.
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

/// A certificate that signs itself, for the loopback address.
fn write_certificate(folder: &Path) -> Result<String> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.self_signed(&key)?.pem();
    fs::write(folder.join("tls.crt"), &certificate)?;
    fs::write(folder.join("tls.key"), key.serialize_pem())?;
    Ok(certificate)
}
