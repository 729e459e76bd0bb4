//! [`ChangeReport`]: how the sidecar of a pod tells the webhook that values of variables changed.
//!
//! It is the first line of the sidecar's termination log, which the kubelet copies into the status
//! of the pod: `values of variables changed at 2026-11-30T12:00:00Z: db/password`. The kubelet cuts
//! the logs of a pod with many containers, so the time comes first. The line has no value, and
//! nothing that is derived from one.

use crate::text::{clean, prefix};

/// The begin of the line.
const BEGIN: &str = "values of variables changed at ";
/// Bytes of the line. The kubelet keeps 12 KiB for all containers of a pod together.
const MOST_BYTES: usize = 512;
/// Secrets that the line names.
const MOST_NAMES: usize = 8;
/// Bytes of the name of a secret.
const MOST_NAME: usize = 48;
/// Bytes of a time.
const MOST_TIME: usize = 40;

/// The changes of a pod's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeReport {
    /// The time of the last change, by RFC 3339. Containers that started before have the old value.
    pub at: String,
    /// The secrets that changed, for a reader.
    pub secrets: Vec<String>,
}

// === impl ChangeReport ===

impl ChangeReport {
    /// The line.
    #[must_use]
    pub fn line(&self) -> String {
        let shown = self.secrets.iter().take(MOST_NAMES).map(|name| clean(name, MOST_NAME));
        let mut names: Vec<String> = shown.collect();
        let others = self.secrets.len() - names.len();
        if others > 0 {
            names.push(format!("{others} others"));
        }
        clean(&format!("{BEGIN}{}: {}", self.at, names.join(", ")), MOST_BYTES)
    }

    /// The time in the first line of a termination log. A pod's author can write any text there.
    #[must_use]
    pub fn time_in(log: &str) -> Option<&str> {
        let rest = log.strip_prefix(BEGIN)?;
        let (time, _) = prefix(rest, MOST_TIME).split_once(": ")?;
        Some(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-11-30T12:00:00Z";

    fn report(secrets: &[&str]) -> ChangeReport {
        ChangeReport { at: TIME.to_owned(), secrets: secrets.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn a_line_has_the_time_first_and_a_limited_length() {
        let line = report(&["db/password", "db/user"]).line();
        assert_eq!(line, "values of variables changed at 2026-11-30T12:00:00Z: db/password, db/user");
        let names = vec!["x\n".repeat(500); 100];
        let line = report(&names.iter().map(String::as_str).collect::<Vec<_>>()).line();
        assert!(line.len() <= MOST_BYTES && !line.contains('\n') && line.ends_with(", 92 others"), "{line}");
        assert_eq!(ChangeReport::time_in(&line), Some(TIME));
    }

    #[test]
    fn the_time_is_read_from_a_line_that_was_cut_and_from_nothing_else() {
        let line = report(&["db/password"]).line();
        for (log, expected) in [
            (line.clone(), Some(TIME)),
            (line.clone() + "\nsecret db/user cannot be fetched", Some(TIME)),
            (line[..BEGIN.len() + TIME.len() + 2].to_owned(), Some(TIME)),
            (line[..BEGIN.len() + TIME.len()].to_owned(), None),
            ("secret db/user cannot be fetched".to_owned(), None),
            (format!("the {line}"), None),
            (format!("{BEGIN}{}: x", "9".repeat(MOST_TIME)), None),
            (String::new(), None),
        ] {
            assert_eq!(ChangeReport::time_in(&log), expected, "{log}");
        }
    }
}
