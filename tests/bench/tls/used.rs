//! [`Used`]: the processor time of a process, from `/proc/PID/stat`, which other programs on the
//! machine affect less than elapsed time. [`Waited`]: the time that they delay its threads.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

/// Units of the times in `/proc/PID/stat`: `USER_HZ`, which is 100 on every Linux of 64 bits.
const TICKS_PER_SECOND: u64 = 100;
/// Fields of `/proc/PID/stat` between the command and the user time.
const FIELDS_BEFORE: usize = 11;

/// The line of `/proc/PID/task/TID/status` with the involuntary context switches.
const INVOLUNTARY: &str = "nonvoluntary_ctxt_switches:";

/// What the threads of a process have waited for a processor, because other threads had it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Waited {
    /// The time on run queues, of all threads.
    pub(crate) run_queue: Duration,
    /// Involuntary context switches.
    pub(crate) switches: u64,
}

/// Processor time that a process has used.
#[derive(Clone, Copy, Default)]
pub(crate) struct Used {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

// === impl Used ===

impl Used {
    /// What all threads of a process have used since its start.
    pub(crate) fn by(process: u32) -> Result<Self> {
        let path = format!("/proc/{process}/stat");
        let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
        // The command is in parentheses, and can contain spaces.
        let (_, fields) = stat.rsplit_once(')').with_context(|| format!("{path} has another format"))?;
        let mut fields = fields.split_whitespace().skip(FIELDS_BEFORE);
        let mut time = || {
            let ticks: u64 = fields.next().and_then(|field| field.parse().ok())?;
            Some(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
        };
        let (user, system) = (time(), time());
        user.zip(system)
            .map(|(user, system)| Self { user, system })
            .with_context(|| format!("{path} has another format"))
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.user += other.user;
        self.system += other.system;
    }

    pub(crate) fn total(self) -> Duration {
        self.user + self.system
    }
}

// === impl Waited ===

impl Waited {
    /// What all threads of a process have waited since their start.
    pub(crate) fn by(process: u32) -> Result<Self> {
        let mut all = Self::default();
        let threads = format!("/proc/{process}/task");
        for thread in fs::read_dir(&threads).with_context(|| threads.clone())? {
            let thread = thread?.path();
            let schedstat = fs::read_to_string(thread.join("schedstat"))?;
            let nanoseconds = schedstat.split_whitespace().nth(1).context("schedstat has another format")?;
            all.run_queue += Duration::from_nanos(nanoseconds.parse()?);
            let status = fs::read_to_string(thread.join("status"))?;
            let switches = status.lines().find_map(|line| line.strip_prefix(INVOLUNTARY));
            all.switches += switches.context("status has another format")?.trim().parse::<u64>()?;
        }
        Ok(all)
    }

    /// What it waited after an earlier reading. A thread that ended meanwhile is not counted.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            run_queue: self.run_queue.saturating_sub(before.run_queue),
            switches: self.switches.saturating_sub(before.switches),
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.run_queue += other.run_queue;
        self.switches += other.switches;
    }
}
