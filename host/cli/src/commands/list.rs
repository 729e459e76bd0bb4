//! `ampoule plugin list`: what became of each plugin of a process that serves, as its admin port tells.
//!
//! In a cluster: `kubectl exec deploy/ampoule -- ampoule plugin list`.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context as _, ensure};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{StatusCode, Uri, body::Bytes};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::timeout;

use super::{output, quiet_runtime};
use crate::args::{ListArgs, TextOutput};
use ampoule_server::plugins::{PluginStatus, Serving};

/// The process is near, and its answer lies ready.
const PATIENCE: Duration = Duration::from_secs(10);
/// Far more than it says of hundreds of plugins.
const LARGEST: usize = 4 << 20;
/// What tells one component from another at a glance.
const SHORT_DIGEST: usize = 12;

pub(crate) fn plugin_list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let ListArgs { admin, output } = args;
    let asked = quiet_runtime()?.block_on(async { timeout(PATIENCE, ask(*admin)).await });
    let answer = asked.unwrap_or_else(|_| Err(anyhow::anyhow!("it does not answer within {} s", PATIENCE.as_secs())));
    let plugins = answer.with_context(|| format!("http://{admin}/plugins (--admin)"))?;
    output::print(&match output {
        TextOutput::Text => table(&plugins),
        TextOutput::Json => output::json(&serde_json::to_value(&plugins)?)?,
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn ask(admin: SocketAddr) -> anyhow::Result<Vec<PluginStatus>> {
    let address: Uri = format!("http://{admin}/plugins").parse()?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let response = client.get(address).await.context("it cannot be asked")?;
    ensure!(response.status() == StatusCode::OK, "it answers with {}", response.status());
    let body = Limited::new(response.into_body(), LARGEST).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("its answer breaks off: {error}"))?;
    serde_json::from_slice(&body.to_bytes()).context("its answer is none of an Ampoule of this version")
}

/// As `kubectl get` prints one.
fn table(plugins: &[PluginStatus]) -> String {
    let head = ["NAME", "STATE", "GENERATION", "VERSION", "SHA256", "REQUIRED", "SOURCE", "PROBLEM"].map(str::to_owned);
    let rows: Vec<_> = [head].into_iter().chain(plugins.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    let line = |row: &[String; 8]| {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("   ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn row(status: &PluginStatus) -> [String; 8] {
    let PluginStatus { name, origin: _, state, generation, required, source, serving, error } = status.clone();
    let (version, digest, warning) = match serving {
        Some(Serving { version, digest, signer: _, warning }) => {
            (version, digest.chars().take(SHORT_DIGEST).collect(), warning)
        }
        None => ("-".to_owned(), "-".to_owned(), None),
    };
    let required = if required { "yes" } else { "no" };
    let (state, generation) = (state.to_string(), generation.to_string());
    [name, state, generation, version, digest, required.to_owned(), source, error.or(warning).unwrap_or_default()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_telemetry::plugin_state::PluginState;

    #[test]
    fn a_table_has_a_line_for_each() {
        let serving = Serving { version: "0.1.0".to_owned(), digest: "ab".repeat(32), signer: None, warning: None };
        let status = |name: &str, state, serving, error: Option<&str>| PluginStatus {
            name: name.to_owned(),
            origin: None,
            state,
            generation: 3,
            required: error.is_none(),
            source: format!("builtin:{name}"),
            serving,
            error: error.map(str::to_owned),
        };
        let plugins = [
            status("k8s", PluginState::Loaded, Some(serving.clone()), None),
            status("mine", PluginState::ServingPrevious, Some(serving), Some("is wrong")),
            status("x", PluginState::Failed, None, Some("is gone")),
        ];
        let expected = "\
NAME   STATE              GENERATION   VERSION   SHA256         REQUIRED   SOURCE         PROBLEM
k8s    loaded             3            0.1.0     abababababab   yes        builtin:k8s
mine   serving-previous   3            0.1.0     abababababab   no         builtin:mine   is wrong
x      failed             3            -         -              no         builtin:x      is gone
";
        assert_eq!(table(&plugins), expected);
    }
}
