//! A real Kubernetes API: [`ApiServer`], etcd and kube-apiserver on free ports of the loopback
//! interface.
//!
//! The machine determines the versions (`$KUBEBUILDER_ASSETS`, or its path, or the cache of `cargo
//! xtask setup`); the flags are those of `setup-envtest`, and work from 1.20 on. All tests of a
//! binary share one server, and each test has its own [`Namespace`].

mod namespace;
mod objects;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use kube::{Client, Config, config::AuthInfo};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::OnceCell;

pub use self::namespace::{Namespace, Refusal, Registration};
use crate::{Connection, Process, Trust, eventually, programs::find_among, report::report};

/// Starting takes five seconds on an idle machine.
const READY: Duration = Duration::from_secs(90);
/// Longer than the longest timeout of a webhook.
const ANSWER: Duration = Duration::from_secs(60);
/// Another program may bind a free port before ours does.
const ATTEMPTS: usize = 3;
/// The token of the only user besides the node, an admin.
const TOKEN: &str = "the-tests-own-token";
/// The token of the node.
const NODE_TOKEN: &str = "the-nodes-token";

/// Audits requests of service accounts only: requests of the tests themselves are not relevant.
const AUDIT_POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - { level: Metadata, userGroups: ['system:serviceaccounts'] }
  - { level: Metadata, verbs: [create], resources: [{ group: '', resources: [pods] }] }
  - { level: None }
";

/// The two programs of a Kubernetes API.
struct Programs {
    etcd: PathBuf,
    kube_apiserver: PathBuf,
}

/// Further flags of kube-apiserver, which may name files in the server's folder.
type Flags<'a> = dyn Fn(&Path) -> Result<Vec<String>> + Sync + 'a;

/// A running API server. Both programs end when this value is dropped, or with the test process.
pub struct ApiServer {
    // In the order in which they must end.
    kube_apiserver: Process,
    etcd: Process,
    /// The first two parts of its version.
    version: (u32, u32),
    address: SocketAddr,
    ca: String,
    folder: TempDir,
}

// === impl ApiServer ===

impl ApiServer {
    /// The server that all tests of this binary share; the first caller starts it.
    ///
    /// # Errors
    ///
    /// The same for every caller: why it could not be started.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<Result<ApiServer, String>> = OnceCell::const_new();
        let shared = SHARED.get_or_init(async || Self::start().await.map_err(|error| format!("{error:#}")));
        shared.await.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
    }

    /// A server for one test, which may change its state. It runs until the test process ends.
    ///
    /// # Errors
    ///
    /// As [`ApiServer::start`].
    pub async fn apart() -> Result<&'static Self> {
        Ok(Box::leak(Box::new(Self::start().await?)))
    }

    /// Starts a server.
    ///
    /// # Errors
    ///
    /// If the programs are missing or not ready in time, with their output.
    pub async fn start() -> Result<Self> {
        Self::start_with(&|_| Ok(Vec::new())).await
    }

    /// Starts a server with further flags of kube-apiserver. `flags` may write files into the
    /// server's folder. It runs until the test process ends.
    ///
    /// # Errors
    ///
    /// As [`ApiServer::start`], and those of `flags`.
    pub async fn apart_with(flags: &Flags<'_>) -> Result<&'static Self> {
        Ok(Box::leak(Box::new(Self::start_with(flags).await?)))
    }

    async fn start_with(flags: &Flags<'_>) -> Result<Self> {
        let find = |name, variable| find_among("KUBEBUILDER_ASSETS", name, variable);
        let programs = Programs {
            etcd: find("etcd", "AMPOULE_ETCD")?,
            kube_apiserver: find("kube-apiserver", "AMPOULE_KUBE_APISERVER")?,
        };
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match Self::attempt(&programs, flags).await {
                Ok(server) => return Ok(server),
                Err(error) if format!("{error:#}").contains("address already in use") => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.context("no attempt was made")?)
    }

    async fn attempt(programs: &Programs, flags: &Flags<'_>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ampoule-e2e-kube-").tempdir()?;
        let path = folder.path();
        let ca = write_credentials(path)?;
        let [client, peer, secure] = free_ports()?;
        let etcd = etcd(programs, path, client, peer)?;
        let kube_apiserver = kube_apiserver(programs, path, client, secure, &flags(path)?)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, secure));
        let trust = Trust::root(&ca)?;
        let ready = eventually("the API server", READY, async || {
            // A program that has ended cannot become ready: the attempts end.
            match etcd.ensure_running().and_then(|()| kube_apiserver.ensure_running()) {
                Ok(()) => readyz(address, &trust).await.map(Ok),
                Err(error) => Ok(Err(error)),
            }
        });
        match ready.await {
            Ok(Ok(version)) => Ok(Self { kube_apiserver, etcd, version: numbers(&version)?, address, ca, folder }),
            Ok(Err(error)) => Err(error),
            Err(error) => bail!("{error:#}\n{}\n{}", etcd.describe(), kube_apiserver.describe()),
        }
    }

    /// The address of its port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The version of the server.
    #[must_use]
    pub fn version(&self) -> (u32, u32) {
        self.version
    }

    /// Whether the server has this version or a later one. If it does not, `what` is reported as a
    /// test that did not run.
    #[must_use]
    pub fn has_version(&self, needed: (u32, u32), what: &str) -> bool {
        let has = self.version >= needed;
        if !has {
            report("not run: ", &format!("{what} (needs Kubernetes {}.{})", needed.0, needed.1));
        }
        has
    }

    /// A client for the calling test: a client belongs to the runtime that made it.
    ///
    /// # Errors
    ///
    /// If it cannot be built.
    pub fn client(&self) -> Result<Client> {
        self.client_of(TOKEN)
    }

    /// A client with the rights of this token's user.
    ///
    /// # Errors
    ///
    /// If it cannot be built.
    pub fn client_of(&self, token: &str) -> Result<Client> {
        let mut config = Config::new(format!("https://{}", self.address).parse()?);
        config.root_cert = Some(vec![CertificateDer::from_pem_slice(self.ca.as_bytes())?.to_vec()]);
        config.auth_info = AuthInfo { token: Some(token.to_owned().into()), ..AuthInfo::default() };
        // A refusal with 503 is an answer; the client would retry it.
        config.default_retry = false;
        config.connect_timeout = Some(ANSWER);
        config.read_timeout = Some(ANSWER);
        Ok(Client::try_from(config)?)
    }

    /// A file for `KUBECONFIG` with the rights of this token's user.
    #[must_use]
    pub fn kubeconfig(&self, token: &str) -> String {
        let (ca, address) = (data_encoding::BASE64.encode(self.ca.as_bytes()), self.address);
        format!(
            "apiVersion: v1
kind: Config
clusters: [{{ name: tests, cluster: {{ server: 'https://{address}', certificate-authority-data: {ca} }} }}]
users: [{{ name: user, user: {{ token: {token} }} }}]
contexts: [{{ name: tests, context: {{ cluster: tests, user: user }} }}]
current-context: tests
"
        )
    }

    /// A file for `KUBECONFIG` with all rights.
    #[must_use]
    pub fn admin_kubeconfig(&self) -> String {
        self.kubeconfig(TOKEN)
    }

    /// A file for `KUBECONFIG` with the rights of the node `node`.
    #[must_use]
    pub(crate) fn node_kubeconfig(&self) -> String {
        self.kubeconfig(NODE_TOKEN)
    }

    /// Creates a namespace.
    ///
    /// # Errors
    ///
    /// If it cannot be created, for instance if its name is taken.
    pub async fn namespace(&'static self, name: &str) -> Result<Namespace> {
        Namespace::create(self, name).await
    }

    /// The requests of a namespace's service accounts, oldest first: events of `audit.k8s.io`.
    ///
    /// # Errors
    ///
    /// If the log cannot be read.
    pub fn audit(&self, namespace: &str) -> Result<Vec<Value>> {
        let accounts = format!("system:serviceaccount:{namespace}:");
        self.audit_events(|event| event["user"]["username"].as_str().is_some_and(|user| user.starts_with(&accounts)))
    }

    /// The creations of a namespace's pods, oldest first: events of `audit.k8s.io`.
    ///
    /// # Errors
    ///
    /// If the log cannot be read.
    pub fn audit_of_pods(&self, namespace: &str) -> Result<Vec<Value>> {
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        self.audit_events(|event| event["requestURI"].as_str().is_some_and(|uri| uri.starts_with(&pods)))
    }

    fn audit_events(&self, wanted: impl Fn(&Value) -> bool) -> Result<Vec<Value>> {
        let log = fs::read_to_string(self.folder.path().join("audit.log"))?;
        // A line that is still being written is left out.
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(events.filter(wanted).collect())
    }

    /// The files of both programs that contain a text: etcd's data, the audit log and the logs.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn files_with(&self, text: &str) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if fs::read(&path)?.windows(text.len()).any(|bytes| bytes == text.as_bytes()) {
                    found.push(path);
                }
            }
        }
        Ok(found)
    }

    /// Suspends etcd's process for this time, as a hanging disk would.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub async fn pause_etcd(&self, time: Duration) -> Result<()> {
        self.etcd.signal(Signal::STOP)?;
        tokio::time::sleep(time).await;
        self.etcd.signal(Signal::CONT)
    }

    /// The state of its programs, for errors.
    fn describe(&self) -> String {
        format!("{}\n{}", self.kube_apiserver.describe(), self.etcd.describe())
    }
}

/// Every post-start hook has run, and the token belongs to an admin. Returns the version.
async fn readyz(address: SocketAddr, trust: &Trust) -> Result<String> {
    let authorization = format!("Bearer {TOKEN}");
    let headers = [("authorization", authorization.as_str())];
    let mut connection = Connection::tls(address, trust).await?;
    for path in ["/readyz", "/api/v1/namespaces/default"] {
        let answer = connection.send("GET", path, &headers, "").await?;
        ensure!(answer.status == 200, "{path} is {}: {}", answer.status, answer.text());
    }
    let answer = connection.send("GET", "/version", &headers, "").await?;
    let version: Value = serde_json::from_slice(&answer.body)?;
    Ok(version["gitVersion"].as_str().context("a version")?.to_owned())
}

/// The first two parts of a version such as `v1.36.2`, which is reported.
fn numbers(version: &str) -> Result<(u32, u32)> {
    report("API server: Kubernetes ", version);
    let mut parts = version.trim_start_matches('v').split('.').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => bail!("{version} is no version"),
    }
}

fn etcd(programs: &Programs, folder: &Path, client: u16, peer: u16) -> Result<Process> {
    let mut command = Command::new(&programs.etcd);
    let peer_url = format!("http://127.0.0.1:{peer}");
    let client_url = format!("http://127.0.0.1:{client}");
    command.arg("--data-dir").arg(folder.join("etcd")).arg("--unsafe-no-fsync");
    command.args(["--name", "default", "--listen-client-urls", &client_url, "--advertise-client-urls", &client_url]);
    command.args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url]);
    command.args(["--initial-cluster", &format!("default={peer_url}")]);
    Process::spawn_in(&mut command, &folder.join("etcd.log"), folder)
}

fn kube_apiserver(programs: &Programs, folder: &Path, etcd: u16, port: u16, further: &[String]) -> Result<Process> {
    let mut command = Command::new(&programs.kube_apiserver);
    let file = |name: &str| folder.join(name).into_os_string();
    let port = port.to_string();
    let etcd = format!("http://127.0.0.1:{etcd}");
    let flags = [
        ("--etcd-servers", etcd.into()),
        ("--bind-address", "127.0.0.1".into()),
        ("--advertise-address", "127.0.0.1".into()),
        ("--secure-port", port.into()),
        ("--cert-dir", file("certs")),
        ("--tls-cert-file", file("apiserver.crt")),
        ("--tls-private-key-file", file("apiserver.key")),
        ("--token-auth-file", file("tokens.csv")),
        ("--service-account-issuer", "https://127.0.0.1/".into()),
        ("--service-account-key-file", file("service-account.pub")),
        ("--service-account-signing-key-file", file("service-account.key")),
        ("--service-cluster-ip-range", "10.0.0.0/24".into()),
        ("--authorization-mode", "Node,RBAC".into()),
        ("--enable-admission-plugins", "NodeRestriction".into()),
        // No controller makes service accounts in these tests.
        ("--disable-admission-plugins", "ServiceAccount".into()),
        ("--audit-policy-file", file("audit-policy.yaml")),
        ("--audit-log-path", file("audit.log")),
        // An address of the loopback interface cannot be an endpoint.
        ("--endpoint-reconciler-type", "none".into()),
    ];
    for (flag, value) in flags {
        let mut argument = std::ffi::OsString::from(format!("{flag}="));
        argument.push(value);
        command.arg(argument);
    }
    command.args(further);
    Process::spawn(&mut command, &folder.join("kube-apiserver.log"))
}

/// Writes the server's certificate, the keys for service accounts, and the admin's token. Returns
/// the CA that signed the certificate.
fn write_credentials(folder: &Path) -> Result<String> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes a certificate with the name of its issuer for a self-signed one.
    ca.distinguished_name.push(DnType::CommonName, "the tests' own CA");
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let key = KeyPair::generate()?;
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &Issuer::new(ca, ca_key))?;
    let service_account = KeyPair::generate()?;
    let files = [
        ("apiserver.crt", certificate.pem()),
        ("apiserver.key", key.serialize_pem()),
        ("service-account.key", service_account.serialize_pem()),
        ("service-account.pub", service_account.public_key_pem()),
        ("audit-policy.yaml", AUDIT_POLICY.to_owned()),
        (
            "tokens.csv",
            format!("{TOKEN},admin,admin,system:masters\n{NODE_TOKEN},system:node:node,node,system:nodes\n"),
        ),
    ];
    for (name, content) in files {
        fs::write(folder.join(name), content).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(ca_pem)
}

/// Ports that are currently free.
///
/// # Errors
///
/// If the system has none.
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
    // Bound simultaneously, so that they differ.
    let listeners: Vec<_> = (0..N).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}
