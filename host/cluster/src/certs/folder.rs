//! Certificate pairs as files: [`write()`] creates them, and [`CertFolder`] reads a mounted folder.
//!
//! Each file is replaced atomically, the key first: a reader that finds a new certificate also
//! finds its key.

use std::{
    fs,
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    condition::{CheckedPair, StoredPair},
    names::{CA_FILE, CERTIFICATE_FILE, KEY_FILE},
    pair::CertificatePair,
};
use ampoule_net::file;

/// The content of a folder at one moment. It has no `Debug` because it contains a key.
#[derive(Clone, PartialEq, Eq)]
pub struct CertFolder {
    dir: PathBuf,
    ca: FileContent,
    certificate: FileContent,
    key: FileContent,
}

/// Errors of the folder at the start of a process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertFolderError {
    /// The folder contains no pair.
    #[error(
        "{} contains neither tls.crt nor tls.key: add a certificate, set server.certDir or --cert-dir to another \
         folder, or pass --self-signed for development", .0.display()
    )]
    Missing(PathBuf),
    /// The folder contains a pair that cannot be served.
    #[error("the certificate in {} cannot be used: {reason}", .dir.display())]
    Unusable {
        /// The folder.
        dir: PathBuf,
        /// The problem, starting with the file's name.
        reason: String,
    },
}

/// `Ok(None)` if the file does not exist.
type FileContent = Result<Option<Vec<u8>>, String>;

// === impl CertFolder ===

impl CertFolder {
    /// Reads the three files. An unreadable file becomes an error of `check`.
    pub fn read(dir: &Path) -> Self {
        let [ca, certificate, key] = [CA_FILE, CERTIFICATE_FILE, KEY_FILE].map(|name| read(dir, name));
        Self { dir: dir.to_owned(), ca, certificate, key }
    }

    /// Returns the folder's path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the folder contains neither a certificate nor a key.
    pub fn is_empty(&self) -> bool {
        matches!((&self.certificate, &self.key), (Ok(None), Ok(None)))
    }

    /// Returns the content of the folder. A missing or unreadable file becomes an empty text.
    pub(super) fn pair(&self) -> CertificatePair {
        let text = |content: &FileContent| {
            let content = content.as_ref().ok().and_then(Option::as_deref).unwrap_or_default();
            String::from_utf8_lossy(content).into_owned()
        };
        CertificatePair { ca_pem: text(&self.ca), certificate_pem: text(&self.certificate), key_pem: text(&self.key) }
    }

    /// Returns the pair if a client that calls `host` accepts it at that time.
    ///
    /// # Errors
    ///
    /// The first problem, without the folder's name.
    pub fn check(&self, host: Option<&str>, at: SystemTime) -> Result<CheckedPair, String> {
        let certificate = self.certificate.as_ref()?.as_deref();
        let key = self.key.as_ref()?.as_deref();
        let ca = self.ca.as_ref()?.as_deref();
        StoredPair { certificate, key, ca }.check(host, at)
    }

    /// Checks the pair at the start of a process.
    ///
    /// # Errors
    ///
    /// The first problem, with the folder's name.
    pub fn load(&self, host: Option<&str>, at: SystemTime) -> Result<CheckedPair, CertFolderError> {
        if self.is_empty() {
            return Err(CertFolderError::Missing(self.dir.clone()));
        }
        self.check(host, at).map_err(|reason| CertFolderError::Unusable { dir: self.dir.clone(), reason })
    }
}

/// Writes the three files, and creates the folder if it does not exist.
///
/// # Errors
///
/// The folder or a file cannot be written.
pub fn write(dir: &Path, pair: &CertificatePair) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    // The group may read the key: containers of a pod often have only the group in common.
    replace(dir, KEY_FILE, &pair.key_pem, 0o640)?;
    replace(dir, CERTIFICATE_FILE, &pair.certificate_pem, 0o644)?;
    replace(dir, CA_FILE, &pair.ca_pem, 0o644)
}

/// Replaces a file atomically.
fn replace(dir: &Path, name: &str, content: &str, mode: u32) -> io::Result<()> {
    let draft = dir.join(format!(".{name}.{}.tmp", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&draft)?;
    file.write_all(content.as_bytes())?;
    fs::rename(&draft, dir.join(name))
}

fn read(dir: &Path, name: &str) -> FileContent {
    match file::read(&dir.join(name), file::SMALL) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{name} cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt as _, time::Duration};

    use super::*;
    use crate::certs::pair::CertificateSubject;

    const HOST: Option<&str> = Some("hook.flyte.svc");

    fn issue() -> CertificatePair {
        let subject = CertificateSubject::service("hook", "flyte", Duration::from_secs(3600));
        CertificatePair::issue(subject, SystemTime::now()).unwrap()
    }

    fn check(files: &[(&str, &str)], expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            match *content {
                "A FOLDER" => fs::create_dir(dir.path().join(name)).unwrap(),
                content => fs::write(dir.path().join(name), content).unwrap(),
            }
        }
        let error = CertFolder::read(dir.path()).load(HOST, SystemTime::now()).err().unwrap();
        assert_eq!(error.to_string().replace(&dir.path().display().to_string(), "DIR"), expected);
    }

    #[test]
    fn a_written_pair_can_be_served_and_only_the_group_reads_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let certs = dir.path().join("a/certs");
        for _ in 0..2 {
            let pair = issue();
            write(&certs, &pair).unwrap();
            let checked = CertFolder::read(&certs).load(HOST, SystemTime::now()).unwrap();
            assert_eq!(checked.key.cert, pair.certified_key().cert);
            assert_eq!(checked.ca, Some(pair.ca_pem));
        }
        let mode = fs::metadata(certs.join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o027, 0, "{mode:o}");
        assert_eq!(fs::read_dir(&certs).unwrap().count(), 3, "no draft is left");
    }

    #[test]
    fn errors_name_the_problem_and_the_file() {
        let (one, other) = (issue(), issue());
        let (crt, key, ca) = (one.certificate_pem.as_str(), one.key_pem.as_str(), one.ca_pem.as_str());
        check(
            &[],
            "DIR contains neither tls.crt nor tls.key: add a certificate, set server.certDir or --cert-dir to another \
             folder, or pass --self-signed for development",
        );
        let unusable = |files: &[(&str, &str)], reason: &str| {
            check(files, &format!("the certificate in DIR cannot be used: {reason}"))
        };
        unusable(&[("tls.crt", crt)], "tls.key is missing");
        unusable(&[("tls.key", key)], "tls.crt is missing");
        unusable(&[("tls.crt", "A FOLDER"), ("tls.key", key)], "tls.crt cannot be read: not a regular file");
        unusable(&[("tls.crt", "hello"), ("tls.key", key)], "tls.crt contains no PEM certificate");
        unusable(&[("tls.crt", crt), ("tls.key", crt)], "tls.key contains no PEM private key");
        unusable(
            &[("tls.crt", crt), ("tls.key", &other.key_pem)],
            "tls.crt and tls.key cannot be used together: keys may not be consistent: KeyMismatch",
        );
        let with_ca = |content| [("tls.crt", crt), ("tls.key", key), (CA_FILE, content)];
        unusable(&with_ca("hello"), "ca.crt contains no PEM certificate");
        unusable(&with_ca(&other.ca_pem), "tls.crt was not signed by ca.crt");
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &one).unwrap();
        let error = CertFolder::read(dir.path()).check(Some("hook.other.svc"), SystemTime::now()).err();
        assert_eq!(
            error.as_deref(),
            Some("tls.crt is not valid for hook.other.svc; its names are hook, hook.flyte, hook.flyte.svc")
        );
        assert!(CertFolder::read(dir.path()).load(HOST, SystemTime::now()).unwrap().ca.as_deref() == Some(ca));
    }
}
