//! Metrics of the process as the kernel reports them: [`ProcessMetrics`].
//!
//! Their names are those of Prometheus' client libraries. Each scrape reads them anew. A metric is
//! left out where Linux's `/proc` is not available.

use std::{fmt, fs, path::Path, sync::OnceLock, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// Fields of `/proc/PID/stat` after the command's name: `starttime` is field 22, the first of these
/// is field 3 (proc_pid_stat(5)).
const START_TIME: usize = 22 - 3;

/// Collects the metrics of this process.
#[derive(Debug, Default)]
pub(super) struct ProcessMetrics {
    /// Read once, in seconds since 1970: adjustments of the clock would change it, and a changed
    /// start time means a restart.
    started: OnceLock<Option<f64>>,
}

// === impl ProcessMetrics ===

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let started = self.started.get_or_init(|| start_time(Path::new("/proc/self/stat")));
        let help = "Start time of the process, in seconds since 1970";
        encode(&mut encoder, "process_start_time_seconds", help, started.map(ConstGauge::new))?;
        let help = "CPU time of the process, in seconds; its rate is the number of CPUs in use";
        let cpu = ConstCounter::new(cpu_time().as_secs_f64());
        encode(&mut encoder, "process_cpu_seconds", help, Some(cpu))?;
        let resident = resident_bytes().map(ConstGauge::new);
        encode(&mut encoder, "process_resident_memory_bytes", "Resident memory of the process, in bytes", resident)?;
        encode(&mut encoder, "process_open_fds", "Open file descriptors", open_files().map(ConstGauge::new))?;
        let limit = getrlimit(Resource::Nofile).current.map(ConstGauge::new);
        encode(&mut encoder, "process_max_fds", "Maximum number of open file descriptors", limit)
    }
}

/// Adds a metric, unless its value is unknown.
fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: Option<impl EncodeMetric>,
) -> fmt::Result {
    match value {
        Some(value) => value.encode(encoder.encode_descriptor(name, help, None, value.metric_type())?),
        None => Ok(()),
    }
}

/// Returns the start time of a process in seconds since 1970, computed as Prometheus' client for Go
/// does: the boot time plus the process's start after boot.
fn start_time(stat: &Path) -> Option<f64> {
    let ticks = start_ticks(&fs::read_to_string(stat).ok()?)?;
    let boot = boot_time(&fs::read_to_string("/proc/stat").ok()?)?;
    Some((Duration::from_secs(boot) + duration(ticks)).as_secs_f64())
}

/// Reads the start time from `/proc/PID/stat`, in clock ticks after boot.
fn start_ticks(stat: &str) -> Option<u64> {
    // The command's name is in parentheses, and may contain spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(START_TIME)?.parse().ok()
}

/// Reads the boot time from `/proc/stat`, in seconds since 1970.
fn boot_time(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn duration(ticks: u64) -> Duration {
    let per_second = clock_ticks_per_second();
    let rest = Duration::from_millis((ticks % per_second) * 1000 / per_second);
    Duration::from_secs(ticks / per_second) + rest
}

/// Returns the CPU time of all threads, in user code and in the kernel.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

/// Reads the resident pages, the second number of `statm`.
fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(page_size()).ok()?)
}

/// Counts the open files, without the directory that is open for counting.
fn open_files() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(entries).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{BufRead as _, BufReader},
        process::{Command, Stdio},
        thread,
        time::{Instant, SystemTime, UNIX_EPOCH},
    };

    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    /// `btime` has a resolution of one second.
    const BOOT_RESOLUTION: f64 = 1.1;

    /// The value of a metric of the test's process.
    fn value(name: &str) -> f64 {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessMetrics::default()));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    }

    fn now() -> f64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
    }

    /// A number in a line of a file in `/proc/self`, such as `VmRSS:  1234 kB`.
    fn in_proc(file: &str, label: &str) -> f64 {
        let text = fs::read_to_string(Path::new("/proc/self").join(file)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(label)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    fn thread_cpu_time() -> Duration {
        clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
    }

    #[test]
    fn the_cpu_time_of_all_threads_is_counted() {
        let (before, begun) = (value("process_cpu_seconds_total"), Instant::now());
        let burned = thread::spawn(|| {
            while thread_cpu_time() < Duration::from_millis(200) {
                std::hint::spin_loop();
            }
            thread_cpu_time().as_secs_f64()
        });
        let burned = burned.join().unwrap();
        let counted = value("process_cpu_seconds_total") - before;
        let cpus = f64::from(u32::try_from(thread::available_parallelism().unwrap().get()).unwrap());
        let most = begun.elapsed().as_secs_f64() * cpus + 0.1;
        assert!((burned..=most).contains(&counted), "{burned} s burned, {counted} s counted, at most {most} s");
    }

    #[test]
    fn touched_memory_is_resident() {
        let before = value("process_resident_memory_bytes");
        let touched = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = value("process_resident_memory_bytes");
        let expected = in_proc("status", "VmRSS:") * 1024.0;
        assert!((after - before - 67e6).abs() < 16e6, "{before} {after}");
        assert!((after - expected).abs() < 16e6, "{after} instead of {expected}");
        drop(touched);
    }

    #[test]
    fn open_files_are_counted_up_to_their_limit() {
        let before = value("process_open_fds");
        let files: Vec<_> = (0..100).map(|_| File::open("/proc/self/stat").unwrap()).collect();
        let opened = value("process_open_fds") - before;
        // Other tests of this process open and close a few files.
        assert!((80.0..=120.0).contains(&opened), "{opened}");
        assert!((value("process_max_fds") - in_proc("limits", "Max open files")).abs() < 0.5);
        drop(files);
    }

    #[test]
    fn the_start_time_is_that_of_the_process_and_not_of_the_metrics() {
        let script = "date +%s.%N; exec sleep 60";
        let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let started: f64 = line.trim().parse().unwrap();
        let own = value("process_start_time_seconds");
        assert!(own < started + BOOT_RESOLUTION, "{own} is after a child that started at {started}");

        // Longer than the resolution: from here on the current time is distinct from both.
        thread::sleep(Duration::from_secs_f64(2.0 * BOOT_RESOLUTION));
        let stat = format!("/proc/{}/stat", child.id());
        let read = start_time(Path::new(&stat)).unwrap();
        assert!((read - started).abs() < BOOT_RESOLUTION, "{read} instead of {started} at {}", now());
        let again = value("process_start_time_seconds");
        assert!((again - own).abs() < BOOT_RESOLUTION, "{own}, then {again} at {}", now());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_command_with_spaces_and_parentheses_is_skipped() {
        let fields: Vec<_> = (4..=52).map(|field| field.to_string()).collect();
        let stat = format!("7 (a) b (c) S {}\n", fields.join(" "));
        assert_eq!(start_ticks(&stat), Some(22));
        assert_eq!(start_ticks("7 (a) S 4 5"), None);
        assert_eq!(boot_time("cpu  1 2\nbtime 1700000000\nprocesses 3\n"), Some(1_700_000_000));
        assert_eq!(boot_time("cpu  1 2\n"), None);
    }
}
