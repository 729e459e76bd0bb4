//! [`Used`]: the processor time of a process, from `/proc/PID/stat`.
//! Other programs on the machine affect it less than elapsed time.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

/// Units of the times in `/proc/PID/stat`: `USER_HZ`, which is 100 on every Linux of 64 bits.
const TICKS_PER_SECOND: u64 = 100;
/// Fields of `/proc/PID/stat` between the command and the user time.
const FIELDS_BEFORE: usize = 11;

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
