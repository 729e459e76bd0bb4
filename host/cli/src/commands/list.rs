//! `ampoule plugin list`: prints the state of each plugin of a running webhook, from its admin
//! port.
//!
//! In a cluster: `kubectl exec deploy/ampoule -- ampoule plugin list`.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use anyhow::{Context as _, ensure};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{StatusCode, Uri, body::Bytes};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::timeout;

use super::{output, setup::quiet_runtime};
use crate::args::{ListArgs, TextOutput};
use ampoule_server::plugins::PluginStatus;

/// Timeout of the request. The answer is in memory, so more time does not help.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Limit on the response body: hundreds of plugins need far less.
const MAX_BODY_BYTES: usize = 4 << 20;
/// Digits of a digest that are printed: enough to distinguish components.
const SHORT_DIGEST: usize = 12;

pub(crate) fn plugin_list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let answer = quiet_runtime()?.block_on(async { timeout(TIMEOUT, request_states(args.admin)).await });
    let answer = answer.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {} s", TIMEOUT.as_secs())));
    let plugins = answer.with_context(|| format!("http://{}/plugins (--admin)", args.admin))?;
    output::print(&match args.output {
        TextOutput::Text => table(&plugins),
        TextOutput::Json => output::json(&serde_json::to_value(&plugins)?)?,
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn request_states(admin: SocketAddr) -> anyhow::Result<Vec<PluginStatus>> {
    let address: Uri = format!("http://{admin}/plugins").parse()?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let response = client.get(address).await.context("the request failed")?;
    ensure!(response.status() == StatusCode::OK, "unexpected status {}", response.status());
    let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
    let body = body.map_err(|error| anyhow::anyhow!("cannot read the response: {error}"))?;
    serde_json::from_slice(&body.to_bytes()).context("the response is not from this version of Ampoule")
}

/// A table in the format of `kubectl get`.
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
    let (version, digest, warning) = match &status.serving {
        Some(serving) => {
            let digest = serving.digest.chars().take(SHORT_DIGEST).collect();
            (serving.version.clone(), digest, serving.warning.as_ref())
        }
        None => ("-".to_owned(), "-".to_owned(), None),
    };
    let required = if status.required { "yes" } else { "no" };
    let problem = status.error.clone().or_else(|| warning.cloned()).or_else(|| status.shadow_note());
    [
        status.name.clone(),
        status.state.to_string(),
        status.generation.to_string(),
        version,
        digest,
        required.to_owned(),
        status.source.clone(),
        problem.unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use ampoule_server::plugins::ServingPlugin;
    use ampoule_telemetry::plugin_state::PluginState;

    #[test]
    fn the_table_has_a_line_for_each_plugin() {
        let serving =
            ServingPlugin { version: "0.1.0".to_owned(), digest: "ab".repeat(32), signer: None, warning: None };
        let status = |name: &str, state, serving, error: Option<&str>| PluginStatus {
            name: name.to_owned(),
            origin: None,
            state,
            generation: 3,
            required: error.is_none(),
            source: format!("builtin:{name}"),
            serving,
            shadowed_by: (name == "late").then(|| "k8s".to_owned()),
            error: error.map(str::to_owned),
            public_error: None,
        };
        let late = serving.clone();
        let plugins = [
            status("k8s", PluginState::Loaded, Some(serving.clone()), None),
            status("mine", PluginState::ServingPrevious, Some(serving), Some("is wrong")),
            status("x", PluginState::Failed, None, Some("is gone")),
            status("late", PluginState::Loaded, Some(late), None),
        ];
        let expected = "\
NAME   STATE              GENERATION   VERSION   SHA256         REQUIRED   SOURCE         PROBLEM
k8s    loaded             3            0.1.0     abababababab   yes        builtin:k8s
mine   serving-previous   3            0.1.0     abababababab   no         builtin:mine   is wrong
x      failed             3            -         -              no         builtin:x      is gone
late   loaded             3            0.1.0     abababababab   yes        builtin:late   it gets no request with a group and a key, because k8s before it serves them all; put it before k8s (in a ConfigMap: a negative order, which plugins.configMapsBefore permits)
";
        assert_eq!(table(&plugins), expected);
    }
}
