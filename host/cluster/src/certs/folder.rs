//! A pair as files: written for a process that reads them from a folder, and read as they are mounted into one.
//!
//! Each file that we write appears whole or not at all, the key first: who sees a new certificate sees its key.

use std::{
    fs,
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{CA_FILE, CERTIFICATE_FILE, CertificatePair, CheckedPair, KEY_FILE, StoredPair};
use ampoule_net::file;

/// What a folder holds at one moment. It has no `Debug`, as it holds a key.
#[derive(Clone, PartialEq, Eq)]
pub struct CertFolder {
    dir: PathBuf,
    ca: FileContent,
    certificate: FileContent,
    key: FileContent,
}

/// Why a process cannot start with a folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertFolderError {
    #[error(
        "{} has neither tls.crt nor tls.key; put a certificate there, name another folder with server.certDir or \
         --cert-dir, or pass --self-signed for development", .0.display()
    )]
    Missing(PathBuf),
    #[error("the certificate in {} cannot be used: {reason}", .dir.display())]
    Unusable { dir: PathBuf, reason: String },
}

/// None if the file is not there.
type FileContent = Result<Option<Vec<u8>>, String>;

// === impl CertFolder ===

impl CertFolder {
    /// Reads the three files. What cannot be read shows when the pair is judged.
    pub fn read(dir: &Path) -> Self {
        let [ca, certificate, key] = [CA_FILE, CERTIFICATE_FILE, KEY_FILE].map(|name| read(dir, name));
        Self { dir: dir.to_owned(), ca, certificate, key }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether there is neither a certificate nor a key.
    pub fn is_empty(&self) -> bool {
        matches!((&self.certificate, &self.key), (Ok(None), Ok(None)))
    }

    /// The pair, if a client may use it at that time that calls `host`.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, without the folder's name.
    pub fn check(&self, host: Option<&str>, at: SystemTime) -> Result<CheckedPair, String> {
        let Self { dir: _, ca, certificate, key } = self;
        let [ca, certificate, key] = [ca, certificate, key].map(|file| file.as_ref().map(Option::as_deref));
        StoredPair { certificate: certificate?, key: key?, ca: ca? }.check(host, at)
    }

    /// The same, for a process that starts.
    ///
    /// # Errors
    ///
    /// What is wrong, with the folder's name.
    pub fn load(&self, host: Option<&str>, at: SystemTime) -> Result<CheckedPair, CertFolderError> {
        let dir = || self.dir.clone();
        if self.is_empty() {
            return Err(CertFolderError::Missing(dir()));
        }
        self.check(host, at).map_err(|reason| CertFolderError::Unusable { dir: dir(), reason })
    }
}

/// Writes the three files, and the folder if it is not there.
pub fn write(dir: &Path, pair: &CertificatePair) -> io::Result<()> {
    let CertificatePair { ca_pem, certificate_pem, key_pem } = pair;
    fs::create_dir_all(dir)?;
    // The group may read the key: of containers in a pod, often only the group is the same.
    for (name, content, mode) in
        [(KEY_FILE, key_pem, 0o640), (CERTIFICATE_FILE, certificate_pem, 0o644), (CA_FILE, ca_pem, 0o644)]
    {
        let draft = dir.join(format!(".{name}.{}.tmp", std::process::id()));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&draft)?;
        file.write_all(content.as_bytes())?;
        fs::rename(&draft, dir.join(name))?;
    }
    Ok(())
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

    use super::{super::Subject, *};

    const HOST: Option<&str> = Some("hook.flyte.svc");

    fn issue() -> CertificatePair {
        let subject = Subject::service("hook", "flyte", Duration::from_secs(3600));
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
    fn what_is_written_can_be_served_and_only_the_group_reads_the_key() {
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
    fn says_what_is_wrong_with_the_files() {
        let (one, other) = (issue(), issue());
        let (crt, key, ca) = (one.certificate_pem.as_str(), one.key_pem.as_str(), one.ca_pem.as_str());
        check(
            &[],
            "DIR has neither tls.crt nor tls.key; put a certificate there, name another folder with server.certDir or \
             --cert-dir, or pass --self-signed for development",
        );
        let unusable = |files: &[(&str, &str)], reason: &str| {
            check(files, &format!("the certificate in DIR cannot be used: {reason}"))
        };
        unusable(&[("tls.crt", crt)], "tls.key is missing");
        unusable(&[("tls.key", key)], "tls.crt is missing");
        unusable(&[("tls.crt", "A FOLDER"), ("tls.key", key)], "tls.crt cannot be read: it is no regular file");
        unusable(&[("tls.crt", "hello"), ("tls.key", key)], "tls.crt holds no certificate in PEM form");
        unusable(&[("tls.crt", crt), ("tls.key", crt)], "tls.key holds no private key in PEM form");
        unusable(
            &[("tls.crt", crt), ("tls.key", &other.key_pem)],
            "tls.crt and tls.key cannot be used together: keys may not be consistent: KeyMismatch",
        );
        let with_ca = |content| [("tls.crt", crt), ("tls.key", key), (CA_FILE, content)];
        unusable(&with_ca("hello"), "ca.crt holds no certificate in PEM form");
        unusable(&with_ca(&other.ca_pem), "tls.crt was not signed by ca.crt");
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &one).unwrap();
        let error = CertFolder::read(dir.path()).check(Some("hook.other.svc"), SystemTime::now()).err();
        assert_eq!(
            error.as_deref(),
            Some("tls.crt is not for hook.other.svc, but for hook, hook.flyte, hook.flyte.svc")
        );
        assert!(CertFolder::read(dir.path()).load(HOST, SystemTime::now()).unwrap().ca.as_deref() == Some(ca));
    }
}
