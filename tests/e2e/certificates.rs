//! Certificates that change while the process serves: those of a mounted folder, as cert-manager and the kubelet bring them.
//!
//! Every handshake here trusts one CA alone, so it proves which certificate is served.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use ampoule_core::MountRequirement::EnvVar;
use ampoule_server::certs::{CertificatePair, Subject};
use ampoule_tests::{Ampoule, Connection, Mounted, Review, Trust, asking, eventually};
use anyhow::{Result, ensure};

use crate::support::{request, v1};

const HOST: &str = "ampoule.ampoule.svc";
/// Two looks of the process, and a machine that does something else as well.
const NOTICED: Duration = Duration::from_secs(30);

/// What the kubelet mounts of a Secret.
fn files<'a>(ca: &'a str, certificate: &'a str, key: &'a str) -> [(&'static str, &'a str); 3] {
    [("ca.crt", ca), ("tls.crt", certificate), ("tls.key", key)]
}

fn mounted(pair: &CertificatePair) -> Result<Mounted> {
    Mounted::new(&files(&pair.ca_pem, &pair.certificate_pem, &pair.key_pem))
}

fn issue(validity: Duration) -> Result<CertificatePair> {
    Ok(CertificatePair::issue(Subject::service("ampoule", "ampoule", validity), SystemTime::now())?)
}

/// A folder with a certificate that does for any test.
pub(crate) fn fresh() -> Result<Mounted> {
    mounted(&issue(Duration::from_secs(3600))?)
}

/// A new connection of a client that trusts this CA alone gets its answer.
async fn served_under(ampoule: &Ampoule, ca: &str) -> Result<()> {
    let mut connection = Connection::tls(ampoule.webhook(), &Trust::root(ca)?.named(HOST)?).await?;
    let review = Review::of(&asking("task", [request("group", "key", EnvVar, "")]), "default");
    let response = Ampoule::review(&mut connection, &review).await?;
    ensure!(response.allowed && !response.patch.0.is_empty(), "{response:?}");
    Ok(())
}

async fn metric(ampoule: &Ampoule, line: &str) -> Result<()> {
    let text = ampoule.admin("/metrics").await?.text();
    ensure!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    Ok(())
}

#[tokio::test]
async fn a_mounted_certificate_is_followed_and_a_broken_one_refused() -> Result<()> {
    const HOUR: Duration = Duration::from_secs(3600);
    let first = issue(HOUR)?;
    let mut mounted = mounted(&first)?;
    let config = tempfile::NamedTempFile::new()?;
    fs::write(config.path(), v1())?;
    let mut command = Ampoule::command()?;
    command.arg("serve").arg("--config").arg(config.path()).arg("--cert-dir").arg(mounted.path());
    let ampoule = Ampoule::start_command(command, &first.ca_pem, HOST).await?;
    // Kept throughout: a new certificate is for new connections.
    let mut kept = ampoule.connect().await?;
    for i in 1..=2 {
        let next = issue(HOUR)?;
        mounted.swap(&files(&next.ca_pem, &next.certificate_pem, &next.key_pem))?;
        let line = format!("ampoule_certificate_reloads_total{{result=\"adopted\"}} {i}");
        eventually("the next certificate", NOTICED, async || {
            served_under(&ampoule, &next.ca_pem).await?;
            metric(&ampoule, &line).await
        })
        .await?;
        assert!(served_under(&ampoule, &first.ca_pem).await.is_err(), "the first is gone");
    }

    let (last, other) = (issue(HOUR)?, issue(HOUR)?);
    let chain = [last.certificate_pem.as_str(), &last.ca_pem].concat();
    mounted.swap(&files(&last.ca_pem, &chain, &last.key_pem))?;
    eventually("a full chain", NOTICED, async || served_under(&ampoule, &last.ca_pem).await).await?;
    mounted.swap(&files(&other.ca_pem, &other.certificate_pem, &last.key_pem))?;
    let refused = "ampoule_certificate_reloads_total{result=\"refused\"} 1";
    eventually("a refusal", NOTICED, async || metric(&ampoule, refused).await).await?;
    let reason = "tls.crt and tls.key cannot be used together: keys may not be consistent: KeyMismatch";
    let log = ampoule.log()?;
    assert!(log.contains("a new certificate is refused, and the one before it served on"), "{log}");
    assert!(log.contains(reason), "{log}");
    served_under(&ampoule, &last.ca_pem).await?;
    assert_eq!(ampoule.admin("/readyz").await?.status, 200);

    let review = Review::of(&asking("task", [request("group", "key", EnvVar, "")]), "default");
    assert!(Ampoule::review(&mut kept, &review).await?.allowed, "an open connection outlives its certificate's use");
    ampoule.stop().await?.ensure_clean()
}

#[tokio::test]
async fn readiness_goes_before_the_certificate_does() -> Result<()> {
    let pair = issue(Duration::from_secs(20))?;
    let mounted = mounted(&pair)?;
    let config = tempfile::NamedTempFile::new()?;
    fs::write(config.path(), v1())?;
    let mut command = Ampoule::command()?;
    command.arg("serve").arg("--config").arg(config.path()).arg("--cert-dir").arg(mounted.path());
    let ampoule = Ampoule::start_command(command, &pair.ca_pem, HOST).await?;
    let text = ampoule.admin("/metrics").await?.text();
    let ends =
        text.lines().find_map(|line| line.strip_prefix("ampoule_certificate_expiry_seconds ")?.parse::<f64>().ok());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
    assert!(ends.is_some_and(|ends| (now..now + 20.0).contains(&ends)), "{ends:?} at {now}");
    eventually("not ready", NOTICED, async || {
        let answer = ampoule.admin("/readyz").await?;
        ensure!(answer.status == 503, "{answer:?}");
        let expected = "[-]certificate failed: the certificate is about to end, and no other has taken its place\n";
        ensure!(answer.text().starts_with(expected), "{answer:?}");
        Ok(())
    })
    .await?;
    assert_eq!(ampoule.admin("/livez").await?.status, 200);
    ampoule.stop().await?.ensure_clean()
}
