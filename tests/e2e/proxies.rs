//! `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`: pulls from registries, and the client of the
//! Kubernetes API.
//!
//! The registry has a name that only the proxy can resolve, as in a network without another way
//! out.

use std::{
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex},
};

use ampoule_tests::{Ampoule, Registry, free_ports};
use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use crate::cluster::Installed;

/// The name of the registry in the configuration.
const REGISTRY: &str = "registry.invalid:5000";

/// An HTTP proxy that leads to one server, whatever the request names.
struct Proxy {
    address: SocketAddr,
    /// The first line of each request.
    seen: Arc<Mutex<Vec<String>>>,
}

// === impl Proxy ===

impl Proxy {
    async fn start(target: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, seen) = (listener.local_addr()?, Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, target.clone(), Arc::clone(&kept)));
            }
        });
        Ok(Self { address, seen })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no test panics with the lock").clone()
    }
}

async fn serve(mut client: TcpStream, target: String, seen: Arc<Mutex<Vec<String>>>) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    let is_tunnel = line.starts_with("CONNECT ");
    seen.lock().expect("no test panics with the lock").push(line);
    let mut server = TcpStream::connect(target).await?;
    if is_tunnel {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    } else {
        server.write_all(&head).await?;
    }
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

// The proxy runs while a command blocks this thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_is_pulled_through_the_proxy_except_from_the_hosts_of_no_proxy() -> Result<()> {
    let registry = Registry::open().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("mine.wasm");
    std::fs::write(&file, ampoule_test_guests::guest("echo"))?;
    let mut push = Ampoule::command()?;
    push.env("DOCKER_CONFIG", folder.path()).args(["plugin", "push", "--insecure", &registry.host()]);
    let output = push.arg(&file).arg(format!("{}/team/echo:1", registry.host())).output()?;
    ensure!(output.status.success(), "{output:?}");

    let config = folder.path().join("ampoule.yaml");
    std::fs::write(
        &config,
        format!(
            "registries: {{ insecure: [\"{REGISTRY}\"] }}\n\
             injectors: [{{ name: mine, component: \"oci:{REGISTRY}/team/echo:1\", limits: {{ deadlineMillis: 5000 }} }}]\n"
        ),
    )?;
    let check = |variables: &[(&str, &str)]| -> Result<(bool, String)> {
        let mut command = Ampoule::command()?;
        command.env("DOCKER_CONFIG", folder.path()).envs(variables.iter().copied());
        let output = command.args(["config", "check", "--config"]).arg(&config).output()?;
        Ok((output.status.success(), String::from_utf8(output.stderr)?))
    };
    let proxy = Proxy::start(registry.host()).await?;
    assert_eq!(check(&[("HTTP_PROXY", &proxy.url())])?, (true, String::new()));
    let seen = proxy.seen();
    assert!(seen.iter().any(|line| line.starts_with(&format!("GET http://{REGISTRY}/v2/team/echo/"))), "{seen:?}");

    // A proxy with a password gets it with a tunnel.
    let with_password = proxy.url().replace("http://", "http://user:pass@");
    assert_eq!(check(&[("http_proxy", &with_password)])?, (true, String::new()));
    assert!(proxy.seen().contains(&format!("CONNECT {REGISTRY} HTTP/1.1")), "{:?}", proxy.seen());

    let count = proxy.seen().len();
    let (is_ok, error) = check(&[("HTTP_PROXY", &proxy.url()), ("NO_PROXY", "example.org,.invalid")])?;
    assert!(!is_ok && error.contains(&format!("the request to {REGISTRY} failed: ")), "{error}");
    assert_eq!(proxy.seen().len(), count, "the host is one of NO_PROXY");
    let (is_ok, error) = check(&[("HTTP_PROXY", "http://user:pass@127.0.0.1:1")])?;
    let reason = "the proxy 127.0.0.1:1 (HTTPS_PROXY, HTTP_PROXY): Connection refused";
    assert!(!is_ok && error.contains(reason) && !error.contains("pass"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_server_is_called_through_the_proxy_unless_no_proxy_has_it() -> Result<()> {
    let [port] = free_ports()?;
    let installed = Installed::new("proxied", port, "{ mode: cluster, secretName: proxied }").await?;
    let run = |variables: &[(&str, &str)]| -> Result<String> {
        let mut command: Command = installed.command(&["init-certs"])?;
        let output = command.envs(variables.iter().copied()).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    let kubeconfig = std::fs::read_to_string(installed.config().with_file_name("kubeconfig"))?;
    let server = kubeconfig.split("https://").nth(1).and_then(|rest| rest.split(['\'', '\n']).next());
    let server = server.context("the address of the API server")?;
    let proxy = Proxy::start(server.to_owned()).await?;
    let dead = [("HTTPS_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "localhost,127.0.0.1")];
    assert!(run(&dead)?.ends_with(": created\n"));
    assert!(run(&[("HTTPS_PROXY", &proxy.url())])?.ends_with(": kept\n"));
    assert_eq!(proxy.seen().first(), Some(&format!("CONNECT {server} HTTP/1.1")));
    assert!(run(&[("HTTPS_PROXY", "http://127.0.0.1:1")]).is_err(), "the proxy is used");
    Ok(())
}
