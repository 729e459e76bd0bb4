//! JSON log lines: [`JsonLine`].
//!
//! The output equals that of `tracing-subscriber` with flattened fields and without spans; a test
//! compares both. Only characters that are not printable differ: here, all of them are escaped.
//! This formatter takes half the time, and an admission writes one line for itself and one for each
//! secret.

use std::{
    error::Error,
    fmt::{self, Debug, Write as _},
};

use ampoule_core::text::is_unprintable;
use serde::Serialize;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime as _, SystemTime},
    },
    registry::LookupSpan,
};

/// Initial capacity in bytes; a longer line reallocates.
const LINE_CAPACITY: usize = 512;

/// Formats an event as a JSON object on its own line.
pub(super) struct JsonLine;

/// The JSON object under construction, without its closing brace.
struct Members(Vec<u8>);

// === impl JsonLine ===

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut members = Members(Vec::with_capacity(LINE_CAPACITY));
        members.add("timestamp", &timestamp);
        members.add("level", event.metadata().level().as_str());
        event.record(&mut members);
        members.add("target", event.metadata().target());
        let mut line = members.0;
        line.push(b'}');
        write_escaped(&mut writer, std::str::from_utf8(&line).map_err(|_| fmt::Error)?)?;
        writer.write_char('\n')
    }
}

// === impl Members ===

impl Members {
    fn add(&mut self, name: &str, value: impl Serialize) {
        let line = &mut self.0;
        line.push(if line.is_empty() { b'{' } else { b',' });
        // Writing a string, number or flag to memory does not fail.
        let _ = serde_json::to_writer(&mut *line, name);
        line.push(b':');
        let _ = serde_json::to_writer(line, &value);
    }
}

impl Visit for Members {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field.name(), text(format_args!("{value}")));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field.name(), text(format_args!("{value:?}")));
    }
}

/// Writes an object, and escapes every character that is not printable: a pod's author can put
/// terminal escapes and marks of direction into names. JSON requires it only below U+0020.
fn write_escaped(writer: &mut Writer<'_>, object: &str) -> fmt::Result {
    if object.bytes().all(|byte| byte < 0x7f) {
        return writer.write_str(object);
    }
    for character in object.chars() {
        // All of them are in strings, and have at most 16 bits.
        match is_unprintable(character) {
            true => write!(writer, "\\u{:04x}", u32::from(character))?,
            false => writer.write_char(character)?,
        }
    }
    Ok(())
}

/// Formats a value up to its first error: `format!` panics on an error.
fn text(value: fmt::Arguments<'_>) -> String {
    let mut text = String::new();
    let _ = text.write_fmt(value);
    text
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use serde_json::Value;
    use tracing::{info, subscriber::with_default, warn};
    use tracing_subscriber::{Registry, fmt, layer::SubscriberExt as _};

    use super::*;

    #[derive(Clone, Default)]
    struct LineBuffer(Arc<Mutex<Vec<u8>>>);

    impl Write for LineBuffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that a subscriber writes, without their timestamps.
    fn written(log: impl Subscriber + Send + Sync + 'static, lines: &LineBuffer) -> Vec<String> {
        with_default(log, || {
            let cause = io::Error::other("cause\u{1b}[31m");
            let error: &dyn Error = &cause;
            info!(
                text = "a \"b\"\n\u{7f}\u{202e}é",
                yes = true,
                less = -1,
                more = u64::MAX,
                part = 0.5,
                none = f64::NAN,
                "message {}",
                1
            );
            info!(target: "audit", key = %cause, debug = ?Some("x"), error, "secret");
            warn!(empty = "");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let timeless = |line: &str| {
            let (time, rest) = line.split_once(',').unwrap();
            assert!(time.starts_with("{\"timestamp\":\"20") && time.ends_with("Z\""), "{time}");
            assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
            rest.to_owned()
        };
        text.lines().map(timeless).collect()
    }

    #[test]
    fn a_line_equals_that_of_tracing_subscriber() {
        let (ours, reference) = (LineBuffer::default(), LineBuffer::default());
        let writer = |lines: &LineBuffer| {
            let lines = lines.clone();
            move || lines.clone()
        };
        let known = fmt::layer().with_writer(writer(&reference)).json().flatten_event(true).with_current_span(false);
        let known = written(Registry::default().with(known.with_span_list(false)), &reference);
        let line = fmt::layer().with_writer(writer(&ours)).event_format(JsonLine);
        let escaped = |line: &String| line.replace('\u{7f}', "\\u007f").replace('\u{202e}', "\\u202e");
        let expected: Vec<_> = known.iter().map(escaped).collect();
        assert_eq!(written(Registry::default().with(line), &ours), expected);
        assert_eq!(known.len(), 3);
    }
}
