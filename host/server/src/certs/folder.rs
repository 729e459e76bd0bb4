//! A pair as files, for a process that reads them from a folder.
//!
//! Each file appears whole or not at all, the key first: who sees a new certificate sees its key.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use super::{CA_FILE, CERTIFICATE_FILE, CertificatePair, KEY_FILE};

/// Writes the three files, and the folder if it is not there.
pub(crate) fn write(dir: &Path, pair: &CertificatePair) -> io::Result<()> {
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

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::PermissionsExt as _,
        time::{Duration, SystemTime},
    };

    use super::{super::Subject, *};

    #[test]
    fn what_is_written_can_be_served_and_only_the_group_reads_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let certs = dir.path().join("a/certs");
        for _ in 0..2 {
            let subject = Subject::service("hook", "flyte", Duration::from_secs(3600));
            let pair = CertificatePair::issue(subject, SystemTime::now()).unwrap();
            write(&certs, &pair).unwrap();
            assert_eq!(crate::tls::load(&certs).unwrap().cert, pair.certified_key().cert);
            assert_eq!(fs::read_to_string(certs.join(CA_FILE)).unwrap(), pair.ca_pem);
        }
        let mode = fs::metadata(certs.join(KEY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o027, 0, "{mode:o}");
        assert_eq!(fs::read_dir(&certs).unwrap().count(), 3, "no draft is left");
    }
}
