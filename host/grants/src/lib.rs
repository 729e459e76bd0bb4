//! Resolves a plugin's `grants`: [`read_ca`] reads certificates, [`resolve`] reads environment
//! variables.
//!
//! This happens once when the plugin is loaded. A change of the certificates loads the plugin
//! again.

use std::{path::Path, sync::Arc};

use ampoule_core::{ClusterSecrets, PluginObserver};
use ampoule_credentials::{Surroundings, credentials};
use ampoule_engine::{Grants, HttpGrant};
use anyhow::{Context as _, ensure};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use ampoule_config::{GrantsConfig, HttpGrantConfig};
use ampoule_net::{file, outbound};

/// The key of the CA certificates below an injector.
const CA_KEY: &str = "grants.http.caFile";

/// Returns the content of `grants.http.caFile`; `None` without that key.
///
/// # Errors
///
/// If the file cannot be read. The error names the key.
pub fn read_ca(config: &GrantsConfig) -> anyhow::Result<Option<Vec<u8>>> {
    let path = config.http.as_ref().and_then(|http| http.ca_file.as_deref());
    path.map(|path| file::read(path, file::SMALL).with_context(|| ca_file_key(path))).transpose()
}

/// Resolves the grants; `ca` is the result of [`read_ca`], or the certificates that a webhook
/// passed to a pod.
///
/// # Errors
///
/// If a variable is not set or a certificate is not valid. The error names the key below the
/// injector.
pub fn resolve(
    plugin: &str,
    config: &GrantsConfig,
    ca: Option<&[u8]>,
    secrets: Arc<dyn ClusterSecrets>,
    observer: Arc<dyn PluginObserver>,
) -> anyhow::Result<Grants> {
    // Taken apart once, so that a new grant does not compile until it is resolved here.
    let GrantsConfig { http, kubernetes_secrets, labelled_secrets, cache, environment, clock, randomness } = config;
    Ok(Grants {
        http: http.as_ref().map(|http| resolve_http(plugin, http, ca, secrets, observer)).transpose()?,
        kubernetes_secrets: kubernetes_secrets.clone(),
        labelled_secrets: labelled_secrets.iter().cloned().collect(),
        cache: *cache,
        environment: environment.iter().map(|name| read_variable(name)).collect::<Result<_, _>>()?,
        clock: *clock,
        randomness: *randomness,
    })
}

fn read_variable<T: From<String>>(name: &str) -> anyhow::Result<(String, T)> {
    let value = std::env::var_os(name).and_then(|value| value.into_string().ok());
    let value =
        value.with_context(|| format!("grants.environment: {name} is not set for the webhook, or is not UTF-8"))?;
    Ok((name.to_owned(), value.into()))
}

fn resolve_http(
    plugin: &str,
    config: &HttpGrantConfig,
    ca: Option<&[u8]>,
    secrets: Arc<dyn ClusterSecrets>,
    observer: Arc<dyn PluginObserver>,
) -> anyhow::Result<HttpGrant> {
    let key = || config.ca_file.as_deref().map_or_else(|| CA_KEY.to_owned(), ca_file_key);
    let roots = ca.map(parse_roots).transpose().with_context(key)?.unwrap_or_default();
    // Login servers of a private network often have a certificate of the same CA as the store.
    let mut login_roots = outbound::roots(None).map_err(|error| anyhow::anyhow!(error.reason))?;
    login_roots.add_parsable_certificates(roots.iter().cloned());
    let surroundings = Surroundings::of_process(secrets, login_roots).observed_by(observer);
    let hosts = credentials(plugin, &config.hosts, &surroundings);
    HttpGrant::with_credentials(hosts, roots).context(CA_KEY)
}

fn parse_roots(pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let parsed = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let roots = parsed.map_err(|error| anyhow::anyhow!("not PEM: {error}"))?;
    ensure!(!roots.is_empty(), "contains no certificate in PEM form");
    Ok(roots)
}

fn ca_file_key(path: &Path) -> String {
    format!("{CA_KEY}: {}", path.display())
}

#[cfg(test)]
mod tests {
    use ampoule_config::GrantedHost;
    use ampoule_core::{Destination, NoCluster, Unobserved};

    use super::*;

    fn grants(hosts: &[&str], ca_file: Option<&Path>) -> anyhow::Result<Grants> {
        let host = |host: &&str| GrantedHost { destination: Destination::parse(host).unwrap(), credential: None };
        let hosts = hosts.iter().map(host).collect();
        let http = Some(HttpGrantConfig { hosts, ca_file: ca_file.map(Into::into) });
        let config = GrantsConfig { http, ..GrantsConfig::default() };
        resolve("p", &config, read_ca(&config)?.as_deref(), Arc::new(NoCluster), Arc::new(Unobserved))
    }

    #[test]
    fn a_ca_file_must_be_readable_and_contain_certificates() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.crt");
        let error = |path| format!("{:#}", grants(&["a.example"], Some(path)).unwrap_err());
        let place = path.display();
        let device = Path::new("/dev/zero");
        assert_eq!(error(device), "grants.http.caFile: /dev/zero: not a regular file");
        assert_eq!(error(&path), format!("grants.http.caFile: {place}: No such file or directory (os error 2)"));
        std::fs::write(&path, "nothing").unwrap();
        assert_eq!(error(&path), format!("grants.http.caFile: {place}: contains no certificate in PEM form"));
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
    fn a_granted_variable_must_be_set() {
        let environment = ["PATH".to_owned()].into();
        let found = resolve(
            "p",
            &GrantsConfig { environment, ..GrantsConfig::default() },
            None,
            Arc::new(NoCluster),
            Arc::new(Unobserved),
        )
        .unwrap();
        assert_eq!(found.environment.len(), 1);
        let environment = ["AMPOULE_NO_SUCH_VARIABLE".to_owned()].into();
        let error = resolve(
            "p",
            &GrantsConfig { environment, ..GrantsConfig::default() },
            None,
            Arc::new(NoCluster),
            Arc::new(Unobserved),
        )
        .unwrap_err();
        let expected = "grants.environment: AMPOULE_NO_SUCH_VARIABLE is not set for the webhook, or is not UTF-8";
        assert_eq!(error.to_string(), expected);
    }
}
