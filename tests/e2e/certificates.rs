//! Certificates that change while the process serves: certificates in a mounted folder, as
//! cert-manager and the kubelet provide them.
//!
//! Every handshake in this file trusts exactly one CA, so it proves which certificate is served.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use ampoule_cluster::certs::{CertificatePair, CertificateSubject};
use ampoule_core::MountRequirement::EnvVar;
use ampoule_tests::{Ampoule, Connection, Mounted, Process, Review, Trust, asking, eventually, free_ports};
use anyhow::{Result, ensure};

use crate::{
    cluster::Installed,
    support::{request, v1},
};

const HOST: &str = "ampoule.ampoule.svc";
/// Two polls of the process, with a margin for a busy machine.
const NOTICED: Duration = Duration::from_secs(30);

/// The files that the kubelet mounts for a Secret.
fn files<'a>(ca: &'a str, certificate: &'a str, key: &'a str) -> [(&'static str, &'a str); 3] {
    [("ca.crt", ca), ("tls.crt", certificate), ("tls.key", key)]
}

fn mounted(pair: &CertificatePair) -> Result<Mounted> {
    Mounted::new(&files(&pair.ca_pem, &pair.certificate_pem, &pair.key_pem))
}

fn issue(validity: Duration) -> Result<CertificatePair> {
    Ok(CertificatePair::issue(CertificateSubject::service("ampoule", "ampoule", validity), SystemTime::now())?)
}

/// A folder with a certificate that is suitable for any test.
pub(crate) fn fresh() -> Result<Mounted> {
    mounted(&issue(Duration::from_secs(3600))?)
}

/// Verifies that a new connection of a client that trusts only this CA gets an answer.
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
async fn a_mounted_certificate_is_reloaded_and_a_broken_one_refused() -> Result<()> {
    const HOUR: Duration = Duration::from_secs(3600);
    let first = issue(HOUR)?;
    let mut mounted = mounted(&first)?;
    let config = tempfile::NamedTempFile::new()?;
    fs::write(config.path(), v1())?;
    let mut command = Ampoule::command()?;
    command.arg("serve").arg("--config").arg(config.path()).arg("--cert-dir").arg(mounted.path());
    let ampoule = Ampoule::start_command(command, &first.ca_pem, HOST).await?;
    // Stays open throughout: a new certificate applies to new connections.
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
        assert!(served_under(&ampoule, &first.ca_pem).await.is_err(), "the first certificate is replaced");
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
    assert!(log.contains("rejected a new certificate; the previous one stays in use"), "{log}");
    assert!(log.contains(reason), "{log}");
    served_under(&ampoule, &last.ca_pem).await?;
    assert_eq!(ampoule.admin("/readyz").await?.status, 200);

    let review = Review::of(&asking("task", [request("group", "key", EnvVar, "")]), "default");
    assert!(Ampoule::review(&mut kept, &review).await?.allowed, "an open connection outlives its certificate");
    ampoule.stop().await?.ensure_clean()
}

#[tokio::test]
async fn readiness_fails_before_the_certificate_expires() -> Result<()> {
    let pair = issue(Duration::from_secs(40))?;
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
    assert!(ends.is_some_and(|ends| (now..now + 40.0).contains(&ends)), "{ends:?} at {now}");
    eventually("not ready", Duration::from_secs(60), async || {
        let answer = ampoule.admin("/readyz").await?;
        ensure!(answer.status == 503, "{answer:?}");
        let expected = "[-]certificate failed: the certificate is about to expire and has no replacement\n";
        ensure!(answer.text().starts_with(expected), "{answer:?}");
        Ok(())
    })
    .await?;
    assert_eq!(ampoule.admin("/livez").await?.status, 200);
    ampoule.stop().await?.ensure_clean()
}

/// The files of a folder; `None` for a missing one.
type Files = [(&'static str, Option<String>); 3];

fn folder_of(ca: &CertificatePair, certificate: &CertificatePair, key: &CertificatePair) -> Files {
    let [ca, certificate, key] = [&ca.ca_pem, &certificate.certificate_pem, &key.key_pem].map(|pem| Some(pem.clone()));
    [("ca.crt", ca), ("tls.crt", certificate), ("tls.key", key)]
}

/// The text with every time replaced by `TIME`.
fn timeless(text: &str) -> String {
    let is_time = |word: &str| word.len() == 20 && word.ends_with('Z') && word.as_bytes()[10] == b'T';
    let word = |word: &str| {
        let bare = word.trim_end_matches([',', ')', '\n']);
        if is_time(bare) { word.replace(bare, "TIME") } else { word.to_owned() }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_certificate_that_the_api_server_would_refuse_stops_the_start_with_a_reason() -> Result<()> {
    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let name = "certificates";
    let [port] = free_ports()?;
    let installed = Installed::new(name, port, "{}").await?;
    let issue = |service: &str, at: SystemTime| {
        CertificatePair::issue(CertificateSubject::service(service, name, 90 * DAY), at)
    };
    let now = SystemTime::now();
    let (good, other) = (issue(name, now)?, issue(name, now)?);
    let at = |at: SystemTime| issue(name, at).map(|pair| folder_of(&pair, &pair, &pair));
    let stranger = issue("other", now)?;
    let with = |file: usize, content: Option<&str>| {
        let mut files = folder_of(&good, &good, &good);
        files[file].1 = content.map(str::to_owned);
        files
    };
    let cases = [
        ("expired", at(now - 91 * DAY)?, "tls.crt expired at TIME (current time TIME)"),
        ("not yet valid", at(now + 30 * DAY)?, "tls.crt is not valid before TIME (current time TIME)"),
        // One hour of clock difference is tolerated.
        ("a clock two hours behind", at(now + 2 * HOUR)?, "tls.crt is not valid before TIME (current time TIME)"),
        (
            "for another Service",
            folder_of(&stranger, &stranger, &stranger),
            "tls.crt is not valid for certificates.certificates.svc; its names are other, other.certificates, \
             other.certificates.svc",
        ),
        (
            "a key of another certificate",
            folder_of(&good, &good, &other),
            "tls.crt and tls.key cannot be used together: keys may not be consistent: KeyMismatch",
        ),
        ("a CA of another certificate", folder_of(&other, &good, &good), "tls.crt was not signed by ca.crt"),
        ("garbage for a certificate", with(1, Some("garbage")), "tls.crt contains no PEM certificate"),
        ("garbage for a key", with(2, Some("garbage")), "tls.key contains no PEM private key"),
        ("garbage for a CA", with(0, Some("garbage")), "ca.crt contains no PEM certificate"),
        ("no certificate", with(1, None), "tls.crt is missing"),
        ("no key", with(2, None), "tls.key is missing"),
    ];
    for (what, files, reason) in cases {
        let folder = tempfile::tempdir()?;
        let certs = folder.path().join("certs");
        fs::create_dir(&certs)?;
        for (file, content) in files {
            content.map_or(Ok(()), |content| fs::write(certs.join(file), content))?;
        }
        let mut command = installed.command(&["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])?;
        command.arg("--cert-dir").arg(&certs);
        let process = Process::spawn_in(&mut command, &folder.path().join("log"), folder.path())?;
        assert_eq!(process.wait(NOTICED).await?.code(), Some(1), "{what}");
        let log = process.output()?;
        let last = timeless(log.lines().last().unwrap_or_default());
        assert_eq!(last, format!("error: the certificate in {} cannot be used: {reason}", certs.display()), "{what}");
    }
    Ok(())
}
