//! The console behind an application with the middleware of Flyte's SDK, which passes the
//! credentials of its callers.
//!
//! The refusal without credentials has the same bytes from both.

use std::{net::SocketAddr, process::Command};

use ampoule_tests::{Answer, Connection, Process, eventually, sdks};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::Shown;
use crate::cluster::NOTICED;

/// An application that asks the console for the plugins.
struct Application {
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

// === impl Application ===

impl Application {
    async fn start(console: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(sdks()?.join("bin/python"));
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/sdks/passthrough_app.py")).arg(console.to_string());
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let process = Process::spawn(&mut command, &folder.path().join("application"))?;
        let port = eventually("the port of the application", NOTICED, async || {
            process.output()?.lines().next().and_then(|line| line.parse().ok()).context("no port")
        });
        let port: u16 = port.await.with_context(|| process.describe())?;
        Ok(Self { address: ([127, 0, 0, 1], port).into(), _process: process, _folder: folder })
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        Connection::plain(self.address).await?.send("GET", path, headers, String::new()).await
    }
}

#[tokio::test]
async fn an_application_with_flytes_middleware_passes_its_caller_to_the_console() -> Result<()> {
    let shown = Shown::start("console-passthrough", "{ listen: '127.0.0.1:0' }").await?;
    let application = Application::start(shown.ampoule.console()?).await?;
    let (operator, developer) = (format!("Bearer {}", shown.operator), format!("Bearer {}", shown.developer));
    let cookie = format!("Authorization=Bearer {}", shown.operator);
    let (operator, developer) = (("authorization", operator.as_str()), ("authorization", developer.as_str()));
    for (what, path, headers, status) in [
        ("who may read", "/plugins", vec![operator], 200),
        ("who may read, with a cookie", "/plugins", vec![operator, ("cookie", "tracking=1")], 200),
        ("who may not read", "/plugins", vec![developer], 403),
        ("a token that the API server does not know", "/plugins", vec![("authorization", "Bearer unknown")], 401),
        ("no credential, refused by the middleware", "/plugins", vec![], 401),
        // The middleware takes any cookie for a credential, and the console none.
        ("a cookie alone, refused by the console", "/plugins", vec![("cookie", cookie.as_str())], 401),
        ("another path than the excluded one", "/health/", vec![], 401),
        ("the excluded path", "/health", vec![operator], 200),
    ] {
        let answer = application.get(path, &headers).await.with_context(|| what.to_owned())?;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        if what.contains("refused by") {
            assert_eq!(answer.text(), super::attacks::MISSING, "{what}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer", "{what}");
        }
    }
    let answer = application.get("/plugins", &[operator]).await?;
    let plugins: Value = serde_json::from_str(&answer.text())?;
    ensure!(plugins[0]["name"] == "k8s", "{plugins}");
    shown.stop().await
}
