//! [`Failure`]: why a call failed, determined from wasmtime's error, and its two texts.
//!
//! The text for the pod author names the plugin and the limit. The details from wasmtime go to the
//! log: a backtrace, for example, contains function names of the guest.

use std::{fmt, time::Duration};

use ampoule_core::{FailureKind, InjectorFailure, Limits, text};
use wasmtime::{PoolConcurrencyLimitError, Trap, component::ResourceTableError};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::FieldMapError;

use crate::sandbox::{limits::ExceededLimit, store::GuestState};

/// Bytes of the details: 4 KiB of the guest's output, and the start of wasmtime's error.
const MAX_DETAIL: usize = 8 << 10;

/// What the plugin's author must do about [`Failure::NoAnswer`].
const NO_ANSWER_REMEDY: &str =
    "inject must make an edit or give a reason, and fetch must return a value or give a reason";

/// wasmtime's messages for too much data in one call, and for too many handles. The types of these
/// errors are private, so only the messages identify them. Tests check that the messages are still
/// the same.
const HOST_BYTES_MESSAGE: &str = "fuel allocated for hostcalls has been exhausted";
const HANDLES_MESSAGE: &str = "store handle limit exceeded";

/// Why a plugin gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Its code failed. `reason` has fixed words, `detail` is the error of wasmtime.
    Trap { reason: String, detail: String },
    /// It exceeded its deadline.
    Deadline,
    /// It exceeded another limit.
    Exceeded(ExceededLimit),
    /// It made an edit that is not valid, and did not handle the error.
    InvalidEdit(String),
    /// It returned without edits, a value or a reason.
    NoAnswer,
    /// It made a promise, but does not export `fetcher`.
    NoFetcher,
    /// No instance was free in time.
    Busy,
    /// It did not start, for another reason.
    Start { reason: &'static str, detail: String },
}

/// The name and version of a plugin in messages.
pub(crate) struct PluginIdentity<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
}

// === impl Failure ===

impl Failure {
    /// Converts the error of a call.
    pub(crate) fn from_call_error(error: &wasmtime::Error, state: &GuestState) -> Self {
        Self::from_known_error(error, state).unwrap_or_else(|| {
            // Any other error is about data that does not match the contract's types, such as a
            // string that is not UTF-8.
            let reason = "it passed data that violates the contract".to_owned();
            Self::Trap { reason, detail: with_output(error, state) }
        })
    }

    /// Converts the error of an instantiation.
    pub(crate) fn from_start_error(error: &wasmtime::Error, state: &GuestState) -> Self {
        Self::from_known_error(error, state).unwrap_or_else(|| match state.refused_growth() {
            Some(exceeded) => Self::Exceeded(exceeded),
            None => Self::Start { reason: "could not be instantiated", detail: with_output(error, state) },
        })
    }

    /// Converts an error that a limit, an exit or a trap caused.
    fn from_known_error(error: &wasmtime::Error, state: &GuestState) -> Option<Self> {
        if error.is::<PoolConcurrencyLimitError>() {
            return Some(Self::Busy);
        }
        if let Some(exceeded) = ExceededLimit::from_error(error) {
            return Some(Self::Exceeded(exceeded));
        }
        if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
            return Some(Self::Trap {
                reason: format!("it exited with status {code}"),
                detail: with_output(error, state),
            });
        }
        match (error.downcast_ref::<Trap>()?, state.refused_growth()) {
            (Trap::Interrupt, _) => Some(Self::Deadline),
            (_, Some(exceeded)) => Some(Self::Exceeded(exceeded)),
            (trap, None) => {
                let reason = trap.to_string().trim_start_matches("wasm trap: ").to_owned();
                Some(Self::Trap { reason, detail: with_output(error, state) })
            }
        }
    }

    /// The failure as a predicate about the plugin.
    pub(crate) fn predicate(&self, limits: &Limits) -> String {
        match self {
            Self::Trap { reason, detail: _ } => format!("trapped: {reason}"),
            Self::Deadline => {
                format!("exceeded its deadline of {} (injectors[].limits.deadlineMillis)", Millis(limits.deadline))
            }
            Self::Exceeded(exceeded) => exceeded.predicate(limits),
            Self::InvalidEdit(error) => format!("made an invalid edit: {error}"),
            Self::NoAnswer => "returned without an answer".to_owned(),
            Self::NoFetcher => "made a promise, but does not export ampoule:injector/fetcher".to_owned(),
            Self::Busy => format!(
                "had no free instance within {} (limit {}, injectors[].limits.instances)",
                Millis(limits.queue_wait),
                limits.instances
            ),
            Self::Start { reason, detail: _ } => (*reason).to_owned(),
        }
    }

    /// Converts to the core's type, with both texts.
    pub(crate) fn into_injector_failure(self, plugin: &PluginIdentity<'_>, limits: &Limits) -> InjectorFailure {
        let outside = format!("plugin {} {} {}", plugin.name, plugin.version, self.predicate(limits));
        let (kind, inside) = match self {
            Self::Trap { reason: _, detail } => (FailureKind::Trap, detail),
            Self::Deadline => (FailureKind::Deadline, String::new()),
            Self::Exceeded(exceeded) => (FailureKind::Limit, exceeded.to_string()),
            Self::NoAnswer => (FailureKind::Answer, NO_ANSWER_REMEDY.to_owned()),
            Self::InvalidEdit(_) | Self::NoFetcher => (FailureKind::Answer, String::new()),
            Self::Busy => (FailureKind::Busy, String::new()),
            Self::Start { reason: _, detail } => (FailureKind::Start, detail),
        };
        InjectorFailure { kind, outside, inside }
    }
}

// === impl ExceededLimit ===

impl ExceededLimit {
    /// The limit that an error is about. wasmtime enforces some limits for us.
    fn from_error(error: &wasmtime::Error) -> Option<Self> {
        if let Some(exceeded) = error.downcast_ref() {
            return Some(*exceeded);
        }
        if let Some(ResourceTableError::Full) = error.downcast_ref() {
            return Some(Self::Handles);
        }
        if let Some(FieldMapError::TooManyFields | FieldMapError::TotalSizeTooBig) = error.downcast_ref() {
            return Some(Self::HttpFields);
        }
        let cause = error.root_cause().to_string();
        if cause.contains(HOST_BYTES_MESSAGE) {
            Some(Self::HostBytes)
        } else if cause.contains(HANDLES_MESSAGE) {
            Some(Self::Handles)
        } else {
            None
        }
    }

    fn predicate(self, limits: &Limits) -> String {
        match self {
            Self::Memory => {
                format!("exceeded its memory limit of {} (injectors[].limits.memoryMiB)", ByteSize(limits.memory))
            }
            Self::TableElements => format!("exceeded its limit of {} table elements", limits.table_elements),
            Self::HostCalls => format!("exceeded its limit of {} host calls", limits.host_calls),
            Self::HostBytes => {
                format!("exceeded its limit of {} of data in one call", ByteSize(limits.host_call_bytes))
            }
            Self::Handles => format!("exceeded its limit of {} handles", limits.handles),
            Self::HttpFields => "exceeded the limit of 32 KiB for the headers of an HTTP request".to_owned(),
            Self::Edits => format!("exceeded its limit of {} edits", limits.edits),
            Self::OutputBytes => format!("exceeded its limit of {} of text in edits", ByteSize(limits.output_bytes)),
        }
    }
}

/// Displays a duration in milliseconds.
struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0.as_millis())
    }
}

/// Displays a number of bytes, in the largest unit of which it is a multiple.
struct ByteSize(usize);

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n > 0 && n.is_multiple_of(1 << 20) => write!(f, "{} MiB", n >> 20),
            n if n > 0 && n.is_multiple_of(1 << 10) => write!(f, "{} KiB", n >> 10),
            n => write!(f, "{n} bytes"),
        }
    }
}

/// What the guest wrote last, such as an exception, then the error of wasmtime and its backtrace.
fn with_output(error: &wasmtime::Error, state: &GuestState) -> String {
    let output = state.output_tail();
    let error = format!("{error:#}");
    text::lines(&format!("{output}\n{error}"), MAX_DETAIL)
}
