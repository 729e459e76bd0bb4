//! Files that change under a running process: [`Watch`] tells when what they hold is another than before, and is at rest.
//!
//! It reads them every second and compares. A mounted ConfigMap or Secret changes by a swapped link, a copied file by a write; a
//! reader that compares contents sees both, on every file system, and needs no watch of the system, of which a node has few.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

/// Between two looks. A change is told at the second look that finds it, so that nobody acts on half of it.
const PERIOD: Duration = Duration::from_secs(1);

/// What some files held when they were last asked for, and how to read them.
pub struct Watch<T> {
    read: Arc<dyn Fn() -> T + Send + Sync>,
    known: T,
    /// What was found at the last look, if it is something else.
    seen: Option<T>,
    looks: Looks,
    period: Duration,
}

/// When to look again. Who waits for it and gives up finds the same time when he comes back.
#[derive(Default)]
pub struct Looks {
    /// None before anybody waits for the first.
    due: Option<Instant>,
}

// === impl Watch ===

impl<T: Clone + PartialEq + Send + 'static> Watch<T> {
    /// Tells of everything that `read` finds from now on and that is not `known`. `read` may block.
    pub fn new(known: T, read: impl Fn() -> T + Send + Sync + 'static) -> Self {
        Self { read: Arc::new(read), known, seen: None, looks: Looks::default(), period: PERIOD }
    }

    /// Waits until something else is there, the same at two looks in a row, and gives it. Cancel safe.
    pub async fn changed(&mut self) -> T {
        loop {
            self.looks.due(self.period).await;
            let read = Arc::clone(&self.read);
            let found = spawn_blocking(move || read()).await;
            self.looks.done(self.period);
            // It fails only if reading panics, or while the process ends.
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

// === impl Looks ===

impl Looks {
    /// Waits until the next look is due, which it stays until it is done. The first is due a period from now.
    pub async fn due(&mut self, period: Duration) {
        sleep_until(*self.due.get_or_insert_with(|| Instant::now() + period)).await;
    }

    /// The next one is due a period from now.
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

    use tokio::time::timeout;

    use super::*;

    /// A folder as the kubelet mounts one: `file` → `..data/file`, `..data` → `..N`.
    struct Mounted(tempfile::TempDir);

    impl Mounted {
        fn new(content: &str) -> Self {
            let this = Self(tempfile::tempdir().unwrap());
            this.swap(0, content);
            symlink("..data/file", this.file()).unwrap();
            this
        }

        fn file(&self) -> PathBuf {
            self.0.path().join("file")
        }

        /// What the kubelet does at a change: a new folder, and the link to it swapped.
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

    /// As short as a test may wait.
    const PERIOD: Duration = Duration::from_millis(20);

    fn watch(path: &Path) -> Watch<Option<String>> {
        let path = path.to_owned();
        let read = move || fs::read_to_string(&path).ok();
        Watch { period: PERIOD, ..Watch::new(read(), read) }
    }

    #[tokio::test]
    async fn sees_every_swap_of_a_mounted_folder() {
        let mounted = Mounted::new("zero");
        let mut watch = watch(&mounted.file());
        for (version, content) in [(1, "one"), (2, "two"), (3, "three")] {
            mounted.swap(version, content);
            assert_eq!(watch.changed().await.as_deref(), Some(content));
        }
        assert!(timeout(10 * PERIOD, watch.changed()).await.is_err(), "nothing changed");
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
    async fn whoever_keeps_giving_up_hears_of_a_change_all_the_same() {
        let mounted = Mounted::new("zero");
        let mut watch = watch(&mounted.file());
        mounted.swap(1, "one");
        let mut found = None;
        for _ in 0..100 {
            found = found.or(timeout(PERIOD / 2, watch.changed()).await.ok());
        }
        assert_eq!(found.flatten().as_deref(), Some("one"));
    }

    #[tokio::test]
    async fn half_a_change_is_not_told() {
        let reads = std::sync::Mutex::new(vec!["whole", "whole", "half", "old", "half"]);
        let read = move || {
            let mut reads = reads.lock().unwrap();
            if reads.len() > 1 { reads.pop().unwrap() } else { reads[0] }
        };
        let mut watch = Watch { period: PERIOD, ..Watch::new("old", read) };
        assert_eq!(watch.changed().await, "whole");
    }
}
