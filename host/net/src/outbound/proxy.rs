//! Connections through the proxy that the environment names: [`ProxyConnector`].
//!
//! The variables are `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in upper or lower
//! case, with the rules of curl.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::{
    Uri,
    rt::{Read, ReadBufCursor, Write},
};
use hyper_util::{
    client::{
        legacy::connect::{Connected, Connection, HttpConnector, proxy::Tunnel},
        proxy::matcher::{Intercept, Matcher},
    },
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower::{BoxError, Service};

use super::{CheckedResolver, root_cause};

/// Opens connections directly or through a proxy.
#[derive(Clone)]
pub struct ProxyConnector {
    direct: HttpConnector<CheckedResolver>,
    /// Connects to a proxy, which the admin has named: no address is prohibited.
    to_proxy: HttpConnector<CheckedResolver>,
    /// `None` ignores the environment.
    proxies: Option<Arc<Matcher>>,
}

/// A connection to a host or to a proxy.
pub struct MaybeProxied {
    stream: TokioIo<TcpStream>,
    /// Whether the peer is a proxy that expects complete URLs.
    is_proxy: bool,
}

// === impl ProxyConnector ===

impl ProxyConnector {
    /// Connects to every host directly.
    pub(super) fn direct(direct: HttpConnector<CheckedResolver>, to_proxy: HttpConnector<CheckedResolver>) -> Self {
        Self { direct, to_proxy, proxies: None }
    }

    /// Uses the proxies of the environment.
    pub(super) fn with_environment(self) -> Self {
        Self { proxies: Some(Arc::new(Matcher::from_env())), ..self }
    }

    async fn connect(mut self, target: Uri) -> Result<MaybeProxied, BoxError> {
        let Some(proxy) = self.proxies.as_ref().and_then(|proxies| proxies.intercept(&target)) else {
            let stream = self.direct.call(target).await?;
            return Ok(MaybeProxied { stream, is_proxy: false });
        };
        // Its root is this text: the client shows it.
        self.connect_to(&proxy, target).await.map_err(|error| {
            let address = proxy.uri().authority().map_or_else(String::new, ToString::to_string);
            io::Error::other(format!("the proxy {address} (HTTPS_PROXY, HTTP_PROXY): {}", root_cause(&*error))).into()
        })
    }

    async fn connect_to(&mut self, proxy: &Intercept, target: Uri) -> Result<MaybeProxied, BoxError> {
        if proxy.uri().scheme_str() != Some("http") {
            return Err("only proxies with http:// are supported".into());
        }
        // A proxy that needs a password gets it with the tunnel: the request has no header for it.
        if target.scheme_str() == Some("http") && proxy.basic_auth().is_none() {
            let stream = self.to_proxy.call(proxy.uri().clone()).await?;
            return Ok(MaybeProxied { stream, is_proxy: true });
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.to_proxy.clone());
        if let Some(password) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(password.clone());
        }
        Ok(MaybeProxied { stream: tunnel.call(target).await?, is_proxy: false })
    }
}

impl Service<Uri> for ProxyConnector {
    type Response = MaybeProxied;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<MaybeProxied, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        Box::pin(self.clone().connect(target))
    }
}

// === impl MaybeProxied ===

impl Connection for MaybeProxied {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.is_proxy)
    }
}

impl Read for MaybeProxied {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Write for MaybeProxied {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Whether the environment's proxy is used for a URL.
#[must_use]
pub fn uses_proxy(target: &Uri) -> bool {
    Matcher::from_env().intercept(target).is_some()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http_body_util::Full;
    use hyper::{Request, body::Bytes};
    use hyper_rustls::HttpsConnectorBuilder;
    use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    use rustls::RootCertStore;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::outbound::{HttpClient, connector, tls_config};

    /// A proxy that answers every request itself, and keeps its first lines and its credentials.
    async fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = vec![0; 4096];
                let length = stream.read(&mut buffer).await.unwrap();
                let text = String::from_utf8_lossy(&buffer[..length]).to_ascii_lowercase();
                let shown = text.lines().filter(|line| line.contains("http/1.1") || line.starts_with("proxy-auth"));
                kept.lock().unwrap().push(shown.collect::<Vec<_>>().join(" "));
                let _ = stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await;
            }
        });
        (address, seen)
    }

    fn client(proxies: Matcher) -> HttpClient {
        let connector = ProxyConnector { proxies: Some(Arc::new(proxies)), ..connector(None) };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(RootCertStore::empty()))
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Client::builder(TokioExecutor::new()).build(connector)
    }

    async fn send(client: &HttpClient, url: &str) -> Result<u16, String> {
        let request = Request::get(url).body(Full::<Bytes>::default()).unwrap();
        let sent = client.request(request).await;
        sent.map(|response| response.status().as_u16()).map_err(|error| root_cause(&error))
    }

    #[tokio::test]
    async fn a_request_goes_through_the_proxy_of_its_scheme_except_to_hosts_of_no_proxy() {
        let (address, seen) = proxy().await;
        let proxies = || Matcher::builder().all(format!("http://user:pass@{address}")).no("direct.invalid,10.0.0.0/8");
        let with_password = client(proxies().build());
        let refused = format!("the proxy {address} (HTTPS_PROXY, HTTP_PROXY): tunnel error: unsuccessful");
        assert_eq!(send(&with_password, "https://registry.invalid/v2/").await, Err(refused.clone()));
        assert_eq!(send(&with_password, "http://registry.invalid:5000/v2/").await, Err(refused));
        let without = client(Matcher::builder().http(format!("http://{address}")).build());
        assert_eq!(send(&without, "http://registry.invalid:5000/v2/").await, Ok(502));
        let password = "proxy-authorization: basic dxnlcjpwyxnz";
        assert_eq!(
            *seen.lock().unwrap(),
            [
                format!("connect registry.invalid:443 http/1.1 {password}"),
                format!("connect registry.invalid:5000 http/1.1 {password}"),
                "get http://registry.invalid:5000/v2/ http/1.1".to_owned(),
            ]
        );
        let direct = send(&with_password, "https://direct.invalid/").await.unwrap_err();
        assert!(!direct.contains("proxy"), "{direct}");
        assert_eq!(seen.lock().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn a_proxy_that_does_not_work_is_named_without_its_password() {
        for (proxy, expected) in [
            ("socks5://user:pass@127.0.0.1:1", "only proxies with http:// are supported"),
            ("http://user:pass@127.0.0.1:1", "Connection refused (os error 111)"),
        ] {
            let error = send(&client(Matcher::builder().all(proxy).build()), "https://registry.invalid/").await;
            let expected = format!("the proxy 127.0.0.1:1 (HTTPS_PROXY, HTTP_PROXY): {expected}");
            assert_eq!(error, Err(expected), "{proxy}");
        }
    }
}
