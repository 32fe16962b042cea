//! Is this station ready? Every check that can be made without changing anything on the hub.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use cert_tool::Certificate;
use hub_types::{DeviceId, IdentityId};
use serde::Serialize;
use tokio::net::{TcpStream, lookup_host};

use crate::causes::with_causes;
use crate::clock;
use crate::hub::{Condition, ErrorClass, Hub, HubClient, HubError};
use crate::target::OpenHub;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing can be done before it is mended.
    Fail,
    /// As it should be.
    Ok,
    /// It was not looked at.
    Skipped,
    /// It will hurt some day, or some verbs.
    Warning,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fail => "fail",
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
        })
    }
}

/// One check.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do about it, where it is not as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<&'static str>,
}

impl Check {
    fn ok(name: &'static str, seen: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, seen: seen.into(), remedy: None }
    }

    fn skipped(name: &'static str, seen: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Skipped, seen: seen.into(), remedy: None }
    }

    fn fail(name: &'static str, seen: impl Into<String>, remedy: &'static str) -> Self {
        Self { name, verdict: Verdict::Fail, seen: seen.into(), remedy: Some(remedy) }
    }

    fn warning(name: &'static str, seen: impl Into<String>, remedy: &'static str) -> Self {
        Self { name, verdict: Verdict::Warning, seen: seen.into(), remedy: Some(remedy) }
    }
}

/// Looks at everything between this station and the hub. `folder` is where the ledger lies.
pub async fn examine(hub: &OpenHub, folder: &Path) -> Vec<Check> {
    let mut checks = vec![disk(folder)];
    let host = hub.client.host();
    let (name, port) = split_port(host);
    checks.push(dns(name).await);
    checks.push(port_of_rest(name, port).await);
    checks.push(port_of_mqtt(hub, name).await);
    checks.extend(answers(&hub.client).await);
    checks.push(Check::skipped(
        "tier",
        "the hub's tier and units can't be read with these credentials; give them as --tier and --units",
    ));
    checks
}

async fn dns(name: &str) -> Check {
    match lookup_host((name, HTTPS)).await {
        Ok(addresses) => {
            let mut addresses: Vec<_> = addresses.map(|address| address.ip().to_string()).collect();
            addresses.dedup();
            Check::ok("dns", format!("{name} is {}", addresses.join(", ")))
        }
        Err(error) => Check::fail(
            "dns",
            format!("{name}: {error}"),
            "check the host name in the connection string, and this station's name server",
        ),
    }
}

async fn port_of_rest(name: &str, port: u16) -> Check {
    match reach(name, port).await {
        Ok(()) => Check::ok("https port", format!("{name}:{port} takes connections")),
        Err(error) if std::env::var_os("HTTPS_PROXY").is_some() => {
            Check::skipped("https port", format!("{name}:{port}: {error}; HTTPS_PROXY is used instead"))
        }
        Err(error) => Check::fail(
            "https port",
            format!("{name}:{port}: {error}"),
            "let outgoing connections to this port through the firewall, or set HTTPS_PROXY",
        ),
    }
}

async fn port_of_mqtt(hub: &OpenHub, name: &str) -> Check {
    if hub.local.is_some() {
        return Check::skipped("mqtt port", "the embedded hub is for this process only");
    }
    match reach(name, MQTT).await {
        Ok(()) => Check::ok("mqtt port", format!("{name}:{MQTT} takes connections")),
        Err(error) => Check::warning(
            "mqtt port",
            format!("{name}:{MQTT}: {error}"),
            "needed by devices only: let port 8883 through the firewall",
        ),
    }
}

async fn reach(name: &str, port: u16) -> Result<(), String> {
    match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((name, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())),
    }
}

/// What the hub's answers tell. Without one nothing else is asked: each call would be tried for minutes.
async fn answers(hub: &HubClient) -> Vec<Check> {
    let examination = match hub.examine().await {
        Ok(examination) => examination,
        Err(error) => {
            let remedy = "where the hub's certificate is not trusted, name its root with --ca-file; a proxy that \
                          opens TLS must be told to leave the hub alone";
            return vec![Check::fail("tls", with_causes(&error), remedy)];
        }
    };
    let mut checks = vec![tls(examination.certificate.as_deref()), clock_of(examination.date)];
    checks.extend(rights(hub).await);
    checks
}

fn tls(certificate: Option<&[u8]>) -> Check {
    match certificate.and_then(Certificate::from_der) {
        Some(certificate) => {
            let left = certificate.not_after() - clock::now();
            let seen = format!(
                "certificate of {} by {}, valid for {} days more",
                certificate.subject(),
                certificate.issuer(),
                left.whole_days()
            );
            match left.whole_days() {
                ..CERTIFICATE_DAYS => Check::warning("tls", seen, "the hub's certificate ends soon"),
                _ => Check::ok("tls", seen),
            }
        }
        None => Check::ok("tls", "the hub's certificate is trusted"),
    }
}

fn clock_of(hub: Option<SystemTime>) -> Check {
    let Some(hub) = hub else {
        return Check::skipped("clock", "the hub does not tell its time");
    };
    let here = SystemTime::from(clock::now());
    let (off, word) = match here.duration_since(hub) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let seen = format!("this station's clock is {} s {word} the hub's", off.as_secs());
    match off {
        off if off >= CLOCK_FAILS => Check::fail(
            "clock",
            seen,
            "set this station's clock: tokens and certificates made here would be refused",
        ),
        off if off >= CLOCK_WARNS => Check::warning("clock", seen, "set this station's clock"),
        _ => Check::ok("clock", seen),
    }
}

/// Which of the rights that provisioning needs the credentials have. Nothing is written: what is
/// deleted does not exist.
async fn rights(hub: &HubClient) -> Vec<Check> {
    let nobody = format!("doctor-{:032x}", clock::now().unix_timestamp_nanos());
    let Ok(nobody) = DeviceId::new(&nobody).map(IdentityId::from) else { return Vec::new() };
    let read = hub.probe().await.map(drop);
    let write = hub.delete_identity(&nobody, &Condition::Exists).await;
    let service = hub.twin(&nobody).await.map(drop);
    vec![
        right("registry read", read, "needed by `doctor` and by batches with `parent` or keys"),
        right("registry write", write, "needed by `apply`: use a policy with RegistryWrite"),
        right("service connect", service, "needed for twins: use a policy with ServiceConnect"),
    ]
}

fn right(name: &'static str, called: Result<(), HubError>, remedy: &'static str) -> Check {
    match called {
        Ok(()) => Check::ok(name, "granted"),
        Err(error) if error.status() == Some(404) => Check::ok(name, "granted"),
        Err(error) if error.class() == ErrorClass::Auth || error.status() == Some(403) => {
            Check::fail(name, with_causes(&error), remedy)
        }
        Err(error) => Check::warning(name, with_causes(&error), "the hub did not answer as expected"),
    }
}

/// Whether the folder of the ledger can be written to, and how much fits into it.
fn disk(folder: &Path) -> Check {
    let shown = folder.display();
    if let Err(error) = tempfile::tempfile_in(folder) {
        return Check::fail(
            "disk",
            format!("can't write to {shown}: {error}"),
            "the ledger must be written: choose another folder with --ledger FILE",
        );
    }
    match fs4::available_space(folder) {
        Ok(bytes) if bytes < DISK_WARNS => Check::warning(
            "disk",
            format!("{} MiB free in {shown}", bytes >> 20),
            "a run of a million rows needs about 1 GiB",
        ),
        Ok(bytes) => Check::ok("disk", format!("{} GiB free in {shown}", bytes >> 30)),
        Err(error) => Check::warning("disk", format!("free space of {shown}: {error}"), "look at it by hand"),
    }
}

fn split_port(host: &str) -> (&str, u16) {
    match host.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?))) {
        Some((name, port)) => (name, port),
        None => (host, HTTPS),
    }
}

const HTTPS: u16 = 443;
const MQTT: u16 = 8883;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A SAS token that seems to be from the future or already over is refused.
const CLOCK_FAILS: Duration = Duration::from_secs(300);
const CLOCK_WARNS: Duration = Duration::from_secs(60);
const CERTIFICATE_DAYS: i64 = 7;
const DISK_WARNS: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_port_is_called_on_443() {
        assert_eq!(split_port("hub.example"), ("hub.example", 443));
        assert_eq!(split_port("localhost:9443"), ("localhost", 9443));
    }

    #[test]
    fn a_clock_that_is_off_is_noticed_in_both_directions() {
        let now = SystemTime::from(clock::now());
        let verdict = |hub| clock_of(Some(hub)).verdict;
        assert_eq!(verdict(now), Verdict::Ok);
        assert_eq!(verdict(now + Duration::from_secs(120)), Verdict::Warning);
        assert_eq!(verdict(now - Duration::from_secs(120)), Verdict::Warning);
        assert_eq!(verdict(now + Duration::from_secs(3600)), Verdict::Fail);
        assert_eq!(clock_of(None).verdict, Verdict::Skipped);
    }

    #[test]
    fn a_folder_that_is_not_there_can_not_be_written_to() {
        assert_eq!(disk(Path::new("/no/such/folder")).verdict, Verdict::Fail);
        assert_ne!(disk(tempfile::tempdir().unwrap().path()).verdict, Verdict::Fail);
    }
}
