//! [`memory_limit`]: the memory limit of the container that the process runs in.
//!
//! The kernel ends a process above this limit, so that every pool of memory is sized by it.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// The folder of the cgroup file systems.
const ROOT: &str = "/sys/fs/cgroup";
/// cgroup v1 reports "no limit" as the largest multiple of the page size.
const UNLIMITED: u64 = 1 << 62;

/// Returns the smallest memory limit, in bytes, of the process' cgroup and its parents. `None`
/// without a limit and on a system without cgroups.
#[must_use]
pub fn memory_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    smallest_limit(&groups, |path| fs::read_to_string(Path::new(ROOT).join(path)).ok())
}

/// `read` returns the content of a file below [`ROOT`].
fn smallest_limit(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    limit_files(groups).iter().filter_map(|path| parse_limit(&read(path)?)).min()
}

/// The files that contain a limit of the process, below [`ROOT`]. In a container, the process may
/// see a path outside of its mount: that file does not exist there, and the root is the container.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    groups.lines().filter_map(limit_file).flat_map(|(root, path, file)| own_and_parents(root, &path, file)).collect()
}

/// The mount of a line's hierarchy, the cgroup's path in it, and the name of the file.
fn limit_file(line: &str) -> Option<(&'static str, PathBuf, &'static str)> {
    let mut fields = line.splitn(3, ':');
    let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let path = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_))).collect();
    match controllers {
        "" if id == "0" => Some(("", path, "memory.max")),
        _ if controllers.split(',').any(|name| name == "memory") => Some(("memory", path, "memory.limit_in_bytes")),
        _ => None,
    }
}

fn own_and_parents(root: &str, path: &Path, file: &str) -> Vec<PathBuf> {
    path.ancestors().map(|group| Path::new(root).join(group).join(file)).collect()
}

fn parse_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < UNLIMITED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_of_a_cgroup_and_its_parents_counts() {
        const V2: &str = "0::/kubepods/pod1/ampoule\n";
        const V1: &str = "3:cpu,cpuacct:/pod1\n2:cpuset,memory:/pod1\n1:name=systemd:/\n0::/\n";
        type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], Option<u64>);
        let cases: [Case<'_>; 10] = [
            ("the root of a container", "0::/\n", &[("memory.max", "805306368\n")], Some(805_306_368)),
            ("no limit", "0::/\n", &[("memory.max", "max\n")], None),
            ("no file", "0::/\n", &[], None),
            ("no cgroup", "", &[("memory.max", "1\n")], None),
            ("its own cgroup", V2, &[("kubepods/pod1/ampoule/memory.max", "7\n")], Some(7)),
            (
                "a parent's is smaller",
                V2,
                &[("kubepods/pod1/ampoule/memory.max", "7"), ("kubepods/pod1/memory.max", "5")],
                Some(5),
            ),
            ("a path outside of the mount", "0::/../../pod1\n", &[("memory.max", "9")], Some(9)),
            ("version 1", V1, &[("memory/pod1/memory.limit_in_bytes", "11\n")], Some(11)),
            ("version 1 without a limit", V1, &[("memory/memory.limit_in_bytes", "9223372036854771712\n")], None),
            ("an unreadable line", "memory\n", &[("memory.max", "1\n")], None),
        ];
        for (case, groups, files, expected) in cases {
            let read = |path: &Path| {
                files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned())
            };
            assert_eq!(smallest_limit(groups, read), expected, "{case}");
        }
    }
}
