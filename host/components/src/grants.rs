//! From the names in a plugin's `grants` to what they stand for: [`resolve`], which reads variables, of what [`read_ca`] has read.
//!
//! It is done once, when the plugin is loaded; which it is again when the certificates are others.

use std::path::Path;

use ampoule_engine::{Grants, HttpGrant};
use anyhow::{Context as _, bail};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use ampoule_config::{GrantsConfig, HttpGrantConfig};
use ampoule_net::file;

/// What `grants.http.caFile` holds; none if there is no such key, which an error names.
pub fn read_ca(config: &GrantsConfig) -> anyhow::Result<Option<Vec<u8>>> {
    let path = config.http.as_ref().and_then(|http| http.ca_file.as_deref());
    path.map(|path| file::read(path, file::SMALL).with_context(|| named(path))).transpose()
}

/// What the grants stand for, with what [`read_ca`] gave. An error names the key below the injector.
pub fn resolve(config: &GrantsConfig, ca: Option<&[u8]>) -> anyhow::Result<Grants> {
    let GrantsConfig { http, kubernetes_secrets, environment, clock, randomness } = config;
    let environment = environment.iter().map(|name| {
        let value = std::env::var_os(name).and_then(|value| value.into_string().ok());
        let value =
            value.with_context(|| format!("grants.environment: {name} is not set for the webhook, or is no text"))?;
        anyhow::Ok((name.clone(), value.into()))
    });
    Ok(Grants {
        http: http.as_ref().map(|http| self::http(http, ca)).transpose()?,
        kubernetes_secrets: kubernetes_secrets.clone(),
        environment: environment.collect::<Result<_, _>>()?,
        clock: *clock,
        randomness: *randomness,
    })
}

fn http(config: &HttpGrantConfig, ca: Option<&[u8]>) -> anyhow::Result<HttpGrant> {
    let HttpGrantConfig { hosts, ca_file } = config;
    let mut roots = Vec::new();
    if let (Some(path), Some(pem)) = (ca_file, ca) {
        let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        roots = read.map_err(|error| anyhow::anyhow!("is no PEM: {error}")).with_context(|| named(path))?;
        if roots.is_empty() {
            bail!("{}: has no certificate in PEM form", named(path));
        }
    }
    HttpGrant::new(hosts.iter().cloned(), roots).context("grants.http.caFile")
}

fn named(path: &Path) -> String {
    format!("grants.http.caFile: {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(hosts: &[&str], ca_file: Option<&Path>) -> anyhow::Result<Grants> {
        let hosts = hosts.iter().map(|host| ampoule_engine::Destination::parse(host).unwrap()).collect();
        let http = Some(HttpGrantConfig { hosts, ca_file: ca_file.map(Into::into) });
        let config = GrantsConfig { http, ..GrantsConfig::default() };
        resolve(&config, read_ca(&config)?.as_deref())
    }

    #[test]
    fn a_certificate_file_is_read_when_the_plugin_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.crt");
        let error = |path| format!("{:#}", grants(&["a.example"], Some(path)).unwrap_err());
        let place = path.display();
        let device = Path::new("/dev/zero");
        assert_eq!(error(device), "grants.http.caFile: /dev/zero: it is no regular file");
        assert_eq!(error(&path), format!("grants.http.caFile: {place}: No such file or directory (os error 2)"));
        std::fs::write(&path, "nothing").unwrap();
        assert_eq!(error(&path), format!("grants.http.caFile: {place}: has no certificate in PEM form"));
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(
            error(&path).starts_with("grants.http.caFile: certificate 1 cannot be used as a root certificate: "),
            "{}",
            error(&path)
        );
        let ca = rcgen::generate_simple_self_signed(vec!["ca".to_owned()]).unwrap();
        std::fs::write(&path, ca.cert.pem()).unwrap();
        assert!(grants(&["a.example"], Some(&path)).unwrap().http.is_some());
    }

    #[test]
    fn a_variable_that_is_granted_has_to_be_there() {
        let environment = ["PATH".to_owned()].into();
        let found = resolve(&GrantsConfig { environment, ..GrantsConfig::default() }, None).unwrap();
        assert_eq!(found.environment.len(), 1);
        let environment = ["AMPOULE_NO_SUCH_VARIABLE".to_owned()].into();
        let error = resolve(&GrantsConfig { environment, ..GrantsConfig::default() }, None).unwrap_err();
        let expected = "grants.environment: AMPOULE_NO_SUCH_VARIABLE is not set for the webhook, or is no text";
        assert_eq!(error.to_string(), expected);
    }
}
