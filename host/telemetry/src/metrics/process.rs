//! What the system says of this process, under the names that Prometheus' own client libraries give it: [`ProcessMetrics`].
//!
//! Asked at each scrape. Without Linux' `/proc` what is read there is left out.

use std::{
    fmt, fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use rustix::{
    param::page_size,
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// The process that this is.
#[derive(Debug)]
pub(super) struct ProcessMetrics {
    started: SystemTime,
}

// === impl ProcessMetrics ===

impl ProcessMetrics {
    /// A process that starts now.
    pub(super) fn start() -> Self {
        Self { started: SystemTime::now() }
    }
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut tell = |name: &str, help: &str, value: Option<&dyn EncodeMetric>| match value {
            Some(value) => value.encode(encoder.encode_descriptor(name, help, None, value.metric_type())?),
            None => Ok(()),
        };
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        let started = ConstGauge::new(started.as_secs_f64());
        tell("process_start_time_seconds", "When the process started, in seconds since 1970", Some(&started))?;
        let help = "Processor time of the process, in seconds; its rate is the number of processors at work";
        tell("process_cpu_seconds", help, Some(&ConstCounter::new(processor_time().as_secs_f64())))?;
        let resident = resident_bytes().map(ConstGauge::new);
        tell("process_resident_memory_bytes", "Memory of the process that is in RAM, in bytes", gauge(&resident))?;
        let open = open_files().map(ConstGauge::new);
        tell("process_open_fds", "File descriptors that are open", gauge(&open))?;
        let most = getrlimit(Resource::Nofile).current.map(ConstGauge::new);
        tell("process_max_fds", "File descriptors that may be open", gauge(&most))
    }
}

fn gauge(value: &Option<ConstGauge<u64>>) -> Option<&dyn EncodeMetric> {
    value.as_ref().map(|value| value as &dyn EncodeMetric)
}

/// Of all threads, in user code and in the kernel.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

/// The second number of `statm`, in pages.
fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(page_size()).ok()?)
}

/// Without the one that is open to count them.
fn open_files() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(entries).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, time::Instant};

    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    /// The value of a metric of this test's process.
    fn value(name: &str) -> f64 {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessMetrics::start()));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    }

    #[test]
    fn the_processor_time_of_all_threads_is_counted() {
        let before = value("process_cpu_seconds_total");
        std::thread::spawn(|| {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(100) {
                std::hint::spin_loop();
            }
        })
        .join()
        .unwrap();
        assert!(value("process_cpu_seconds_total") > before);
    }

    #[test]
    fn memory_in_use_is_resident() {
        let before = value("process_resident_memory_bytes");
        let taken = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = value("process_resident_memory_bytes");
        assert!(before > 0.0 && after > before + 32e6, "{before} {after}");
        drop(taken);
    }

    #[test]
    fn open_files_are_counted_within_their_limit() {
        let files: Vec<_> = (0..100).map(|_| File::open("/proc/self/stat").unwrap()).collect();
        let open = value("process_open_fds");
        assert!(open >= 100.0 && open < value("process_max_fds"), "{open}");
        drop(files);
    }

    #[test]
    fn it_started_just_now() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let started = value("process_start_time_seconds");
        assert!((now - 1.0..now + 60.0).contains(&started), "{started} at {now}");
    }
}
