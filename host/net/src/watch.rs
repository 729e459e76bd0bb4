//! Changes to files under a running process: [`Watch`] reports new content once it has settled.
//!
//! It reads the files every second and compares the content. A mounted ConfigMap or Secret changes
//! by a swapped link, a copied file by a write; comparing content detects both, on every file
//! system. It needs no inotify watch, of which a node has only a limited number.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

/// Interval between two polls. A change is reported at the second poll that finds it, so that no
/// reader sees half a change.
const PERIOD: Duration = Duration::from_secs(1);

/// The last known content of some files, and the function that reads them.
pub struct Watch<T> {
    read: Arc<dyn Fn() -> T + Send + Sync>,
    known: T,
    /// The content at the last poll, if it differs from the known one.
    seen: Option<T>,
    timer: PollTimer,
    period: Duration,
}

/// The time of the next poll. It survives a caller that cancels its wait and waits again.
#[derive(Default)]
pub struct PollTimer {
    /// `None` before the first wait.
    due: Option<Instant>,
}

// === impl Watch ===

impl<T: Clone + PartialEq + Send + 'static> Watch<T> {
    /// Reports everything that `read` returns from now on and that differs from `known`. `read` may
    /// block.
    pub fn new(known: T, read: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self { read: Arc::new(read), known, seen: None, timer: PollTimer::default(), period: PERIOD }
    }

    /// Waits until two polls in a row find the same new content, and returns it. Cancel safe.
    pub async fn changed(&mut self) -> T {
        loop {
            self.timer.due(self.period).await;
            let read = Arc::clone(&self.read);
            let found = spawn_blocking(move || read()).await;
            self.timer.done(self.period);
            // Fails only if `read` panics, or while the process ends.
            let Ok(found) = found else { continue };
            if found == self.known {
                self.seen = None;
            } else if self.seen.as_ref() == Some(&found) {
                self.seen = None;
                self.known = found.clone();
                return found;
            } else {
                self.seen = Some(found);
            }
        }
    }
}

// === impl PollTimer ===

impl PollTimer {
    /// Waits until the next poll is due. It remains due until [`PollTimer::done`]. The first poll
    /// is due after `period`.
    pub async fn due(&mut self, period: Duration) {
        sleep_until(*self.due.get_or_insert_with(|| Instant::now() + period)).await;
    }

    /// Schedules the next poll `period` from now.
    pub fn done(&mut self, period: Duration) {
        self.due = Some(Instant::now() + period);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::symlink,
        path::{Path, PathBuf},
    };

    use tokio::{sync::watch::channel, time::timeout};

    use super::*;

    /// A directory as the kubelet mounts one: `file` → `..data/file`, `..data` → `..N`.
    struct MountedVolume(tempfile::TempDir);

    impl MountedVolume {
        fn new(content: &str) -> Self {
            let this = Self(tempfile::tempdir().unwrap());
            this.swap(0, content);
            symlink("..data/file", this.file()).unwrap();
            this
        }

        fn file(&self) -> PathBuf {
            self.0.path().join("file")
        }

        /// Changes the content as the kubelet does: a new directory, and an atomic swap of the
        /// link.
        fn swap(&self, version: u32, content: &str) {
            let folder = self.0.path();
            fs::create_dir(folder.join(format!("..{version}"))).unwrap();
            fs::write(folder.join(format!("..{version}/file")), content).unwrap();
            symlink(format!("..{version}"), folder.join("..data_tmp")).unwrap();
            fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
            if let Some(before) = version.checked_sub(1) {
                fs::remove_dir_all(folder.join(format!("..{before}"))).unwrap();
            }
        }
    }

    /// Short interval for tests.
    const PERIOD: Duration = Duration::from_millis(20);

    fn watch(path: &Path) -> Watch<Option<String>> {
        let path = path.to_owned();
        let read = move || fs::read_to_string(&path).ok();
        Watch { period: PERIOD, ..Watch::new(read(), read) }
    }

    #[tokio::test]
    async fn sees_every_swap_of_a_mounted_folder() {
        let mounted = MountedVolume::new("zero");
        let mut watch = watch(&mounted.file());
        for (version, content) in [(1, "one"), (2, "two"), (3, "three")] {
            mounted.swap(version, content);
            assert_eq!(watch.changed().await.as_deref(), Some(content));
        }
    }

    #[tokio::test]
    async fn unchanged_content_is_not_reported() {
        let (polls, mut polled) = channel(0);
        let read = move || polls.send_modify(|count| *count += 1);
        let mut watch = Watch { period: PERIOD, ..Watch::new((), read) };
        tokio::select! {
            () = watch.changed() => panic!("nothing changed"),
            polled = polled.wait_for(|count| *count >= 5) => assert!(polled.is_ok()),
        }
    }

    #[tokio::test]
    async fn sees_a_file_that_is_written_in_place_removed_and_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let mut watch = watch(&file);
        for content in [Some("a"), Some("b"), None, Some("b")] {
            match content {
                Some(content) => fs::write(&file, content).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            assert_eq!(watch.changed().await.as_deref(), content);
        }
    }

    #[tokio::test]
    async fn a_caller_that_cancels_each_wait_still_sees_the_change() {
        let mounted = MountedVolume::new("zero");
        let mut watch = watch(&mounted.file());
        mounted.swap(1, "one");
        let mut found = None;
        for _ in 0..100 {
            found = found.or(timeout(PERIOD / 2, watch.changed()).await.ok());
        }
        assert_eq!(found.flatten().as_deref(), Some("one"));
    }

    #[tokio::test]
    async fn half_a_change_is_not_reported() {
        let reads = std::sync::Mutex::new(vec!["whole", "whole", "half", "old", "half"]);
        let read = move || {
            let mut reads = reads.lock().unwrap();
            if reads.len() > 1 { reads.pop().unwrap() } else { reads[0] }
        };
        let mut watch = Watch { period: PERIOD, ..Watch::new("old", read) };
        assert_eq!(watch.changed().await, "whole");
    }
}
