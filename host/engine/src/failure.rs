//! What a call can fail with, told from wasmtime's errors, and the two texts that it becomes.
//!
//! The text for the pod's author says which plugin and which limit. What wasmtime says in addition (a trap's backtrace has
//! function names of the guest in it) is for the log.

use std::{fmt, time::Duration};

use ampoule_core::{FailureKind, InjectorFailure};
use wasmtime::{PoolConcurrencyLimitError, Trap, component::ResourceTableError};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::FieldMapError;

use crate::{
    limits::{Exceeded, Limits},
    store::PluginState,
    text::clean,
};

/// Bytes of an error of wasmtime that are kept for the log.
const MAX_DETAIL: usize = 4 << 10;

/// What wasmtime says when the data of one call is too much, and when there are too many handles. The types of these errors
/// are private, so their texts have to tell; tests see to it that they still do.
const HOST_BYTES_SPENT: &str = "fuel allocated for hostcalls has been exhausted";
const HANDLES_SPENT: &str = "store handle limit exceeded";

/// Why a plugin gave no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Its code failed: why, in fixed words, and everything wasmtime says.
    Trap { reason: String, detail: String },
    /// It ran too long.
    Deadline,
    /// It wanted too much of something.
    Exceeded(Exceeded),
    /// There was no instance to be had.
    Busy,
    /// It could not be started for another reason.
    Start { reason: &'static str, detail: String },
}

/// A plugin, as messages name it.
pub(crate) struct Identity<'a> {
    pub(crate) name: &'a str,
    pub(crate) version: &'a str,
}

// === impl Failure ===

impl Failure {
    /// What an error of wasmtime means that ended a call.
    pub(crate) fn of_call(error: &wasmtime::Error, state: &PluginState) -> Self {
        Self::known(error, state).unwrap_or_else(|| {
            // What is neither a trap nor ours is data that is no value of the contract's types, such as a string that is
            // not UTF-8.
            Self::Trap { reason: "what it passed to the host breaks the contract".to_owned(), detail: detail(error) }
        })
    }

    /// What an error of wasmtime means that ended an instantiation.
    pub(crate) fn of_start(error: &wasmtime::Error, state: &PluginState) -> Self {
        Self::known(error, state).unwrap_or_else(|| match state.refused_growth() {
            Some(exceeded) => Self::Exceeded(exceeded),
            None => Self::Start { reason: "could not be instantiated", detail: detail(error) },
        })
    }

    fn known(error: &wasmtime::Error, state: &PluginState) -> Option<Self> {
        if error.is::<PoolConcurrencyLimitError>() {
            return Some(Self::Busy);
        }
        if let Some(exceeded) = Exceeded::of(error) {
            return Some(Self::Exceeded(exceeded));
        }
        if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
            return Some(Self::Trap { reason: format!("it exited with status {code}"), detail: detail(error) });
        }
        match (error.downcast_ref::<Trap>()?, state.refused_growth()) {
            (Trap::Interrupt, _) => Some(Self::Deadline),
            (_, Some(exceeded)) => Some(Self::Exceeded(exceeded)),
            (trap, None) => {
                let reason = trap.to_string().trim_start_matches("wasm trap: ").to_owned();
                Some(Self::Trap { reason, detail: detail(error) })
            }
        }
    }

    /// What happened, to be read after the plugin's name.
    pub(crate) fn predicate(&self, limits: &Limits) -> String {
        match self {
            Self::Trap { reason, detail: _ } => format!("trapped: {reason}"),
            Self::Deadline => format!(
                "ran for longer than its deadline of {} (injectors[].limits.deadlineMillis)",
                Millis(limits.deadline)
            ),
            Self::Exceeded(exceeded) => exceeded.predicate(limits),
            Self::Busy => format!(
                "had no free instance within {}; it may have {} at once (injectors[].limits.instances)",
                Millis(limits.queue_wait),
                limits.instances
            ),
            Self::Start { reason, detail: _ } => (*reason).to_owned(),
        }
    }

    /// The failure as the core knows it.
    pub(crate) fn report(self, who: &Identity<'_>, limits: &Limits) -> InjectorFailure {
        let outside = format!("plugin {} {} {}", who.name, who.version, self.predicate(limits));
        let (kind, inside) = match self {
            Self::Trap { reason: _, detail } => (FailureKind::Trap, detail),
            Self::Deadline => (FailureKind::Deadline, String::new()),
            Self::Exceeded(exceeded) => (FailureKind::Limit, exceeded.to_string()),
            Self::Busy => (FailureKind::Busy, String::new()),
            Self::Start { reason: _, detail } => (FailureKind::Start, detail),
        };
        InjectorFailure { kind, outside, inside }
    }
}

// === impl Exceeded ===

impl Exceeded {
    /// The limit of ours, or of wasmtime's on our behalf, that an error is about.
    fn of(error: &wasmtime::Error) -> Option<Self> {
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
        let spent = |text| cause.contains(text);
        spent(HOST_BYTES_SPENT).then_some(Self::HostBytes).or(spent(HANDLES_SPENT).then_some(Self::Handles))
    }

    fn predicate(self, limits: &Limits) -> String {
        match self {
            Self::Memory => {
                format!("wanted more memory than its limit of {} (injectors[].limits.memoryMiB)", Size(limits.memory))
            }
            Self::TableElements => format!("wanted more than its limit of {} table elements", limits.table_elements),
            Self::HostCalls => format!("called the host more often than its limit of {} calls", limits.host_calls),
            Self::HostBytes => format!("passed more than its limit of {} in one call", Size(limits.host_call_bytes)),
            Self::Handles => format!("held more than its limit of {} handles", limits.handles),
            Self::HttpFields => "put more into the headers of an HTTP request than their limit of 32 KiB".to_owned(),
            Self::Edits(edits) => format!("answered with {edits} edits, more than its limit of {}", limits.edits),
            Self::OutputBytes => format!("answered with edits of more than its limit of {}", Size(limits.output_bytes)),
        }
    }
}

/// A duration in milliseconds.
struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0.as_millis())
    }
}

/// A number of bytes, in the largest unit that it is a multiple of.
struct Size(usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n > 0 && n.is_multiple_of(1 << 20) => write!(f, "{} MiB", n >> 20),
            n if n > 0 && n.is_multiple_of(1 << 10) => write!(f, "{} KiB", n >> 10),
            n => write!(f, "{n} bytes"),
        }
    }
}

/// Everything wasmtime says, its backtrace in one line.
fn detail(error: &wasmtime::Error) -> String {
    let words: Vec<String> = format!("{error:#}").split_whitespace().map(str::to_owned).collect();
    clean(&words.join(" "), MAX_DETAIL)
}
