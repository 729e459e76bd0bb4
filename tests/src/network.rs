//! A network for one test, with addresses that are not loopback and a store behind them:
//! [`in_own_network`], [`Store`].
//!
//! The test runs itself again in a network namespace that is isolated from this machine's network.
//! The store listens on every address there, including those that no plugin may call, so that a
//! forbidden call would arrive and be counted.

use std::{
    net::{IpAddr, Ipv4Addr},
    process::{Command, Output},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    runtime::Runtime,
};
use tokio_rustls::TlsAcceptor;

use crate::report::repeat;

/// The store's address: TEST-NET-1 of RFC 5737, which is not assigned.
pub const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The address of a cloud's metadata service.
pub const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
/// The port that plugins are granted, and one that they are not.
pub const PORTS: [u16; 2] = [8443, 9443];
/// The store's name.
pub const NAME: &str = "store.example";

/// The token that the store requires for its secret `db/password`.
pub const TOKEN: &str = "zq7canarybird-token";
/// The value of the store's secret `db/password`.
pub const VALUE: &str = "zq7canarybird-value";

const INSIDE: &str = "AMPOULE_TEST_NETWORK";
const SET_UP: &str = r#"ip link set lo up
ip address add 192.0.2.1/32 dev lo
ip address add 169.254.169.254/32 dev lo
exec timeout "$AMPOULE_TEST_LIMIT" "$@""#;
/// The time for a test in its own network.
const LIMIT: Duration = Duration::from_secs(300);
/// For root, and for other users: a user namespace makes its owner root inside.
const NAMESPACES: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];

/// An HTTPS server whose paths determine its answers.
pub struct Store {
    /// The root that signed its certificate for [`NAME`] and [`ADDRESS`].
    pub root: CertificateDer<'static>,
    calls: Arc<Mutex<Calls>>,
    _runtime: Runtime,
}

/// A request that a store received.
#[derive(Clone, Debug)]
pub struct Question {
    /// The method and the path with its query, such as `GET /v1/db?version=1`.
    pub target: String,
    /// The lines of the header, with lower-case names.
    pub headers: Vec<String>,
    /// The body.
    pub body: String,
}

/// Determines the status and the body of an answer. `None`: the answer depends on the path.
type Answers = dyn Fn(&Question) -> Option<(u16, String)> + Send + Sync;

/// The connections of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// The store's address of each connection.
    pub to: Vec<IpAddr>,
    /// Number of open connections.
    pub open: usize,
}

/// Runs a test's body in a network of its own. `test` is its full name, as the test program lists
/// it.
///
/// # Panics
///
/// If the body panics, or if this machine does not permit a network namespace.
pub fn in_own_network(test: &str, body: impl FnOnce()) {
    in_own_network_for(test, LIMIT, body);
}

/// Like [`in_own_network`], with another limit of time.
///
/// # Panics
///
/// As [`in_own_network`].
pub fn in_own_network_for(test: &str, limit: Duration, body: impl FnOnce()) {
    let Some(output) = again_in_own_network(&["--exact", test, "--nocapture"], limit) else { return body() };
    let text = String::from_utf8_lossy(&output.stdout);
    let ran = output.status.success() && text.contains("1 passed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(ran, "{test}, in a network of its own:\n{text}\n{errors}");
    repeat(&errors, test);
    show(&text);
}

/// Runs this program again with these arguments, in a network of its own, and returns its output.
/// `None` in the program that runs there.
///
/// # Panics
///
/// If this machine does not permit a network namespace.
#[must_use]
pub fn again_in_own_network(arguments: &[&str], limit: Duration) -> Option<Output> {
    if std::env::var_os(INSIDE).is_some() {
        return None;
    }
    let program = std::env::current_exe().expect("a program has a file");
    let mut refusals = String::new();
    for namespaces in NAMESPACES {
        let run =
            |command: &mut Command| -> Output { command.output().expect("unshare (package util-linux) is installed") };
        let unshare = || {
            let mut command = Command::new("unshare");
            command.env("AMPOULE_TEST_LIMIT", limit.as_secs().to_string());
            command.args(namespaces).args(["--", "sh", "-ec", SET_UP, "sh"]);
            command
        };
        let tried = run(unshare().arg("true"));
        if !tried.status.success() {
            refusals += &String::from_utf8_lossy(&tried.stderr);
            continue;
        }
        return Some(run(unshare().arg(program).args(arguments).env(INSIDE, "1")));
    }
    panic!(
        "this machine lets no process have a network of its own. Inside a container: start it with `--cap-add SYS_ADMIN --cap-add \
         NET_ADMIN`. Otherwise: allow user namespaces, or run the tests as root; and `ip` (package iproute2) must be there. It \
         printed:\n{refusals}"
    );
}

/// Prints the output or a figure of a test, which is captured unless it runs with `--nocapture`.
#[allow(clippy::print_stdout, reason = "a test prints its figures")]
pub fn show(text: &str) {
    println!("{text}");
}

// === impl Store ===

impl Store {
    /// Listens on every address and on [`PORTS`].
    ///
    /// # Panics
    ///
    /// If the ports are in use, for instance outside a network of its own.
    #[must_use]
    pub fn start() -> Self {
        Self::answering(|_| None)
    }

    /// Like [`Store::start`], with answers of the test. The function may block.
    ///
    /// # Panics
    ///
    /// As [`Store::start`].
    #[must_use]
    pub fn answering(answers: impl Fn(&Question) -> Option<(u16, String)> + Send + Sync + 'static) -> Self {
        let answers: Arc<Answers> = Arc::new(answers);
        let key = || KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("an empty list has no invalid name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, key()).expect("a root");
        let leaf_key = key();
        let names = CertificateParams::new(vec![NAME.to_owned(), ADDRESS.to_string()]).expect("good names");
        let leaf = names.signed_by(&leaf_key, &ca).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring supports every version")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], leaf_key.serialize_der().try_into().expect("a key"))
            .expect("the key is the certificate's");
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let runtime = Runtime::new().expect("a runtime");
        let calls = Arc::<Mutex<Calls>>::default();
        for port in PORTS {
            let listener = runtime.block_on(TcpListener::bind(("0.0.0.0", port))).expect("the port is free");
            runtime.spawn(serve(listener, acceptor.clone(), Arc::clone(&calls), Arc::clone(&answers)));
        }
        Self { root: ca.der().clone(), calls, _runtime: runtime }
    }

    /// The connections so far.
    ///
    /// # Panics
    ///
    /// If a thread of the store has panicked.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.calls.lock().expect("no thread panics while it holds the lock").clone()
    }

    /// Waits until no connection is open.
    ///
    /// # Panics
    ///
    /// If one stays open for five seconds.
    pub fn wait_until_left(&self) {
        let started = Instant::now();
        while self.calls().open > 0 {
            assert!(started.elapsed() < Duration::from_secs(5), "connections stay open: {:?}", self.calls());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Question {
    /// Reads the body after a head. A path of the default answers has none, or does not read it.
    async fn read(head: &str, stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Self> {
        let mut lines = head.lines();
        let target = lines.next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some(format!("{}: {value}", name.to_ascii_lowercase()))
        };
        let headers: Vec<_> = lines.filter_map(header).collect();
        let length = headers.iter().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; if target.ends_with("/sink") { 0 } else { length.unwrap_or(0) }];
        stream.read_exact(&mut body).await?;
        Ok(Self { target, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, calls: Arc<Mutex<Calls>>, answers: Arc<Answers>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let (acceptor, calls, answers) = (acceptor.clone(), Arc::clone(&calls), Arc::clone(&answers));
        {
            let mut calls = calls.lock().expect("no thread panics while it holds the lock");
            calls.to.push(stream.local_addr().expect("a connection has an address").ip());
            calls.open += 1;
        }
        tokio::spawn(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                // Clients that disconnect are part of some tests.
                let _ = answer(stream, answers).await;
            }
            calls.lock().expect("no thread panics while it holds the lock").open -= 1;
        });
    }
}

/// Answers one request according to the test or its path.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, answers: Arc<Answers>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let question = Question::read(&head, &mut stream).await?;
    let answer = tokio::task::spawn_blocking(move || answers(&question)).await.expect("the answers do not panic");
    if let Some((status, body)) = answer {
        let whole = format!("HTTP/1.1 {status} Answer\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(whole.as_bytes()).await?;
        return stream.shutdown().await;
    }
    let path = head.split([' ', '?']).nth(1).unwrap_or_default();
    let redirect = |to: &str| format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
    // A plugin may add a slash to the path of its settings.
    let whole = match if path == "/" { path } else { path.trim_end_matches('/') } {
        "/hang" | "/sink" => {
            let mut waste = [0; 4096];
            while stream.read(&mut waste).await? > 0 {}
            return Ok(());
        }
        "/endless" | "/crumbs" => {
            let size = if path == "/crumbs" { 1 } else { 16 << 10 };
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            let chunk = format!("{size:x}\r\n{}\r\n", "x".repeat(size));
            loop {
                stream.write_all(chunk.as_bytes()).await?;
            }
        }
        "/headers" => format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(100_000)),
        "/metadata" => redirect("https://169.254.169.254:8443/latest/meta-data"),
        "/other-port" => redirect("https://store.example:9443/ok"),
        "/again" => redirect("https://store.example:8443/ok"),
        "/v1/db/password" if head.contains(&format!("\r\nauthorization: Bearer {TOKEN}\r\n")) => {
            format!("HTTP/1.1 200 OK\r\n\r\n{{\"data\":{{\"value\":\"{VALUE}\"}}}}")
        }
        "/v1/db/password" => "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "/v1/db/missing" => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "/half" => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe".to_owned(),
        _ => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_owned(),
    };
    stream.write_all(whole.as_bytes()).await?;
    stream.shutdown().await
}
