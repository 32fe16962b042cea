//! The connection to a hub or a DPS: its name, its ports, its certificates, its clock.

use std::time::{Duration, SystemTime};

use cert_tool::Certificate;
use cli_support::causes::with_causes;
use tokio::net::{TcpStream, lookup_host};

use super::{Check, Verdict};
use crate::clock;
use crate::device::{ConnectError, DeviceHub};
use crate::hub::{NetworkFailure, ServiceClient};
use crate::model::service::ServiceKind;
use crate::target::{OpenDps, OpenHub};

/// The checks of the way to a hub, and of the port of its devices.
pub(super) async fn of_hub(hub: &OpenHub) -> Vec<Check> {
    let mut checks = of_service(ServiceKind::Hub, &hub.client).await;
    checks.extend(match hub.local {
        Some(_) => MQTT.map(|check| Check::skipped(check, "the embedded hub is for this process only")),
        None => mqtt(ServiceKind::Hub, hub.for_devices(None)).await,
    });
    checks
}

/// The checks of the way to a DPS, and of the port that devices register at.
pub(super) async fn of_dps(dps: &OpenDps) -> Vec<Check> {
    let mut checks = of_service(ServiceKind::Dps, &dps.client).await;
    checks.extend(mqtt(ServiceKind::Dps, dps.for_devices(None)).await);
    checks
}

async fn of_service(kind: ServiceKind, client: &ServiceClient) -> Vec<Check> {
    let (name, port) = split_port(client.host());
    let port = port_of_rest(name, port).await;
    let answer = match port.verdict {
        Verdict::Fail => [TLS, CLOCK].map(|check| Check::skipped(check, "there is no connection")),
        _ => answer(kind, client).await,
    };
    let remedy = match kind {
        ServiceKind::Dps => "check the name of the DPS, and this station's name server",
        ServiceKind::Hub => "check the hub's name, and this station's name server",
    };
    let mut checks = vec![dns("dns", name, remedy).await, port];
    checks.extend(answer);
    checks
}

async fn dns(check: &'static str, name: &str, remedy: &'static str) -> Check {
    match lookup_host((name, HTTPS)).await {
        Ok(addresses) => {
            let mut addresses: Vec<_> = addresses.map(|address| address.ip().to_string()).collect();
            addresses.dedup();
            Check::ok(check, format!("{name} is {}", addresses.join(", ")))
        }
        Err(error) => Check::fail(check, format!("{name}: {}", NetworkFailure::of(&error)), remedy),
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

/// Checks a response, even a refusal: the certificate of the service, and its time.
async fn answer(kind: ServiceKind, client: &ServiceClient) -> [Check; 2] {
    match client.probe_tls().await {
        Ok(examination) => {
            let chain: Vec<_> = examination.certificate.iter().map(Vec::as_slice).collect();
            [certificates(kind, TLS, &chain), clock_of(kind, examination.date)]
        }
        Err(error) => {
            let skipped = Check::skipped(CLOCK, format!("the {kind} can't be asked"));
            [Check::fail(TLS, with_causes(&error), untrusted(kind)), skipped]
        }
    }
}

/// The port of devices. The provisioner itself needs it only to connect as they do.
async fn mqtt(kind: ServiceKind, door: Result<DeviceHub, ConnectError>) -> [Check; 3] {
    let [name, port, tls] = MQTT;
    let door = match door {
        Ok(door) => door.with_deadline(CONNECT_TIMEOUT),
        Err(error) => return MQTT.map(|check| Check::skipped(check, with_causes(&error))),
    };
    let name = dns(name, &door.address().host, DEVICE_HOST).await;
    if name.verdict == Verdict::Fail {
        let [port, tls] =
            [port, tls].map(|check| Check::skipped(check, "the host of devices has no address"));
        return [name, port, tls];
    }
    let takes_connections = Check::ok(port, format!("{} takes connections", door.address()));
    match door.knock().await {
        Ok(chain) => {
            let chain: Vec<_> = chain.iter().map(AsRef::as_ref).collect();
            [name, takes_connections, certificates(kind, tls, &chain)]
        }
        Err(error @ ConnectError::Unreachable { .. }) => {
            let remedy = "needed by devices only: let port 8883 through the firewall";
            let closed = Check::warning(port, with_causes(&error), remedy);
            [name, closed, Check::skipped(tls, "there is no connection")]
        }
        Err(error) => [name, takes_connections, Check::warning(tls, with_causes(&error), untrusted(kind))],
    }
}

async fn reach(name: &str, port: u16) -> Result<(), String> {
    match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((name, port))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(NetworkFailure::of(&error).to_string()),
        Err(_) => Err(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())),
    }
}

/// The certificates of a service (DER), its own first. They have been verified already.
fn certificates(kind: ServiceKind, check: &'static str, chain: &[&[u8]]) -> Check {
    let chain: Vec<_> = chain.iter().filter_map(|der| Certificate::from_der(der)).collect();
    let Some(own) = chain.first() else {
        return Check::ok(check, format!("the {kind}'s certificate is trusted"));
    };
    let end = chain.iter().map(Certificate::not_after).min().unwrap_or_else(|| own.not_after());
    let left = (end - clock::now()).whole_days();
    let (subject, issuer) = (own.subject(), own.issuer());
    let seen = format!("certificate of {subject} by {issuer}, valid for {left} days more");
    match left {
        ..CERTIFICATE_DAYS => Check::warning(check, seen, "the certificate ends soon"),
        _ => Check::ok(check, seen),
    }
}

fn clock_of(kind: ServiceKind, there: Option<SystemTime>) -> Check {
    let Some(there) = there else {
        return Check::skipped(CLOCK, format!("the {kind} does not tell its time"));
    };
    let here = SystemTime::from(clock::now());
    let (off, word) = match here.duration_since(there) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let seen = format!("this station's clock is {} s {word} the {kind}'s", off.as_secs());
    match off {
        off if off >= CLOCK_FAILS => Check::fail(
            CLOCK,
            seen,
            "set this station's clock: tokens and certificates made here would be refused",
        ),
        off if off >= CLOCK_WARNS => Check::warning(CLOCK, seen, "set this station's clock"),
        _ => Check::ok(CLOCK, seen),
    }
}

fn split_port(host: &str) -> (&str, u16) {
    match host.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?))) {
        Some((name, port)) => (name, port),
        None => (host, HTTPS),
    }
}

/// The check that is well when the hub answers.
pub(super) const TLS: &str = "tls";
const CLOCK: &str = "clock";
/// The checks of the host that devices connect to.
const MQTT: [&str; 3] = ["mqtt dns", "mqtt port", "mqtt tls"];
const DEVICE_HOST: &str = "check the host that devices connect to (`--device-host`, or `device_host` in \
                           `provisioner.toml`), and this station's name server";

/// The remedy where the certificate of a service is not trusted.
fn untrusted(kind: ServiceKind) -> &'static str {
    match kind {
        ServiceKind::Dps => {
            "where the certificate of the DPS is not trusted, name its root with --ca-file; a proxy that opens TLS must \
             be told to leave the DPS alone"
        }
        ServiceKind::Hub => {
            "where the hub's certificate is not trusted, name its root with --ca-file; a proxy that opens TLS must be \
             told to leave the hub alone"
        }
    }
}

const HTTPS: u16 = 443;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A SAS token that seems to be from the future or already over is refused.
const CLOCK_FAILS: Duration = Duration::from_secs(300);
const CLOCK_WARNS: Duration = Duration::from_secs(60);
const CERTIFICATE_DAYS: i64 = 7;

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
        let verdict = |hub| clock_of(ServiceKind::Hub, Some(hub)).verdict;
        assert_eq!(verdict(now), Verdict::Ok);
        assert_eq!(verdict(now + Duration::from_secs(120)), Verdict::Warning);
        assert_eq!(verdict(now - Duration::from_secs(120)), Verdict::Warning);
        assert_eq!(verdict(now + Duration::from_secs(3600)), Verdict::Fail);
        assert_eq!(clock_of(ServiceKind::Dps, None).verdict, Verdict::Skipped);
    }
}
