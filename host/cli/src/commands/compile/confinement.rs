//! Confines the compiler's process with Landlock: [`confine`].
//!
//! A component that takes over the compiler finds no file, no TCP port, no other process to signal,
//! and no program with more rights. Kernels before 6.12 lack a part of this, and kernels before
//! 5.13 all of it except the last.

use anyhow::Context as _;
use landlock::{ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _, Scope};

/// The newest version of Landlock that is used.
const NEWEST: ABI = ABI::V6;

/// Gives up every right that Landlock controls, as far as the kernel supports it, and sets
/// `no_new_privs`. Pipes and files that are already open stay usable.
///
/// Applies to this thread and to those that it starts.
///
/// # Errors
///
/// If a kernel with Landlock refuses the rules.
pub(super) fn confine() -> anyhow::Result<()> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?;
    ruleset.create()?.restrict_self().context("cannot confine the compiler's process")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::ErrorKind::PermissionDenied,
        net::{TcpListener, TcpStream},
        thread,
    };

    use super::*;

    #[test]
    fn the_compiler_has_neither_files_nor_network_nor_new_rights() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        // A thread of its own: the test's other threads keep their rights.
        let confined = thread::spawn(move || {
            assert!(TcpStream::connect(address).is_ok(), "the test's server can be reached before");
            confine().unwrap();
            let file = File::open("/etc/passwd").map(drop).map_err(|error| error.kind());
            let connect = TcpStream::connect(address).map(drop).map_err(|error| error.kind());
            let listen = TcpListener::bind("127.0.0.1:0").map(drop).map_err(|error| error.kind());
            let status = std::fs::read_to_string("/proc/thread-self/status").map_err(|error| error.kind());
            (file, connect, listen, status)
        });
        let denied = Err(PermissionDenied);
        let (file, connect, listen, status) = confined.join().unwrap();
        assert_eq!((file, connect, listen), (denied, denied, denied), "this test needs Linux 6.7 with Landlock");
        assert_eq!(status.map(drop), denied, "the process cannot read about itself either");
    }
}
