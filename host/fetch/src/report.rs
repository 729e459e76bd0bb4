//! The output of the program: a line of audit on standard output, warnings on standard error, and
//! the reason of a failure in the termination log, which the kubelet shows in the pod's status.

use std::{fs, io::Write as _, path::Path, time::Duration};

use ampoule_core::{
    ChangeReport, FetchDocument,
    text::{clean, prefix},
};
use serde_json::{Value, json};
use tracing::error;
use tracing_subscriber::filter::LevelFilter;

use crate::error::PodFetchError;

/// Bytes of the termination log that the kubelet reads, from its end.
const MAX_REASON: usize = 4 << 10;

/// Starts the log: JSON lines on standard error.
pub(crate) fn start_log() {
    let log = tracing_subscriber::fmt().json().with_writer(std::io::stderr).with_max_level(LevelFilter::WARN);
    // A log that was started before is as good.
    let _ = log.try_init();
}

/// Writes the line of audit after the first fetch: which secrets the pod has.
pub(crate) fn fetched(document: &FetchDocument, elapsed: Duration) {
    write_line(&json!({
        "message": "fetched", "milliseconds": elapsed.as_millis(), "secrets": secrets(document),
    }));
}

/// Writes the line of audit after a change: which secrets the pod has.
pub(crate) fn refreshed(document: &FetchDocument) {
    write_line(&json!({ "message": "refreshed", "secrets": secrets(document) }));
}

fn secrets(document: &FetchDocument) -> Vec<Value> {
    let secrets = document.injectors.iter().flat_map(|injector| {
        let entry = |value| json!({ "injector": injector.name, "secret": value });
        injector.values.iter().map(move |value| entry(&value.secret))
    });
    secrets.collect()
}

fn write_line(line: &Value) {
    // A closed output has no reader.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Writes the changes of variables to the termination log, which the kubelet reads when the
/// container ends, for whatever reason.
pub(crate) fn changes(report: &ChangeReport, termination_log: &Path) {
    let _ = fs::write(termination_log, report.line());
}

/// Writes the line of audit before the end of the sidecar: which variables changed.
pub(crate) fn variables_changed(report: &ChangeReport) {
    write_line(&json!({ "message": "variables changed", "at": report.at, "secrets": report.secrets }));
}

/// Reports why the pod cannot start, or the sidecar. Changes that were reported stay.
pub(crate) fn failure(error: &PodFetchError, termination_log: &Path) {
    let reason = clean(&error.to_string(), MAX_REASON);
    error!(reason, "the secrets of the pod cannot be fetched");
    // Outside a pod there is no such file, and the log has the reason as well.
    let earlier = fs::read_to_string(termination_log).unwrap_or_default();
    let text = match ChangeReport::time_in(&earlier) {
        Some(_) => format!("{}\n{reason}", earlier.lines().next().unwrap_or_default()),
        None => reason,
    };
    let _ = fs::write(termination_log, prefix(&text, MAX_REASON));
}
