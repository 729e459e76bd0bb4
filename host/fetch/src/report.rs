//! The output of the program: a line of audit on standard output, warnings on standard error, and
//! the reason of a failure in the termination log, which the kubelet shows in the pod's status.

use std::{fs, io::Write as _, path::Path, time::Duration};

use ampoule_core::{FetchDocument, text::clean};
use serde_json::{Value, json};
use tracing::error;
use tracing_subscriber::filter::LevelFilter;

use crate::error::PodFetchError;

/// Bytes of the termination log that the kubelet reads.
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

/// Reports why the pod cannot start.
pub(crate) fn failure(error: &PodFetchError, termination_log: &Path) {
    let reason = clean(&error.to_string(), MAX_REASON);
    error!(reason, "the secrets of the pod cannot be fetched");
    // Outside a pod there is no such file, and the log has the reason as well.
    let _ = fs::write(termination_log, reason);
}
