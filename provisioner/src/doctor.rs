//! The check of a station before its work, without a change on the hub or the DPS.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::ledger::LedgerLocation;
use crate::model::observer::RunObserver;
use crate::model::service::ServiceKind;
use crate::model::service_status::StatusListener;
use crate::target::{HubLabel, OpenDps, OpenHub, ServiceChoice, TargetError, with_dps, with_hub};

mod dps_rights;
mod network;
mod rights;
mod station;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// The station can't work before this is fixed.
    Fail,
    /// The check has passed.
    Ok,
    /// The check was skipped.
    Skipped,
    /// The finding affects some verbs, or may cause a failure later.
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
pub(crate) struct Check {
    /// The subject of the check.
    pub(crate) name: &'static str,
    /// The result.
    pub(crate) verdict: Verdict,
    /// The observation.
    pub(crate) seen: String,
    /// The remedy, if the result is not good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<&'static str>,
}

impl Check {
    fn is_well(&self) -> bool {
        matches!(self.verdict, Verdict::Ok | Verdict::Warning)
    }

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

/// Checks this station, and everything between it and the hub or the DPS.
pub(crate) async fn run_checks(
    service: ServiceChoice,
    ledger: &LedgerLocation,
    observer: &dyn RunObserver,
) -> Result<((ServiceKind, HubLabel), Vec<Check>), TargetError> {
    let status = observer.status_listener();
    match service {
        ServiceChoice::Dps(choice) => {
            let checks = async |dps: &OpenDps| {
                Ok(((ServiceKind::Dps, dps.label.clone()), of_dps(dps, ledger, status).await))
            };
            with_dps(choice, PATIENCE, observer, checks).await
        }
        ServiceChoice::Hub(choice) => {
            let checks = async |hub: &OpenHub| {
                Ok(((ServiceKind::Hub, hub.label.clone()), of_hub(hub, ledger, status).await))
            };
            with_hub(choice, PATIENCE, observer, checks).await
        }
    }
}

async fn of_hub(hub: &OpenHub, ledger: &LedgerLocation, status: StatusListener) -> Vec<Check> {
    let mut checks = station::checks(ledger, status).await;
    checks.extend(network::of_hub(hub).await);
    checks.extend(match is_reached(&checks) {
        true => rights::checks(&hub.client, hub.size).await,
        // Without an answer each call would be tried for minutes.
        false => rights::NAMES.map(|name| Check::skipped(name, "the hub can't be asked")).into(),
    });
    checks
}

async fn of_dps(dps: &OpenDps, ledger: &LedgerLocation, status: StatusListener) -> Vec<Check> {
    let mut checks = station::checks(ledger, status).await;
    checks.extend(network::of_dps(dps).await);
    checks.extend(match is_reached(&checks) {
        true => dps_rights::checks(&dps.client).await,
        false => dps_rights::NAMES.map(|name| Check::skipped(name, "the DPS can't be asked")).into(),
    });
    checks.push(dps_rights::id_scope(dps));
    checks
}

/// Returns true if the service has answered.
fn is_reached(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.name == network::TLS && check.is_well())
}

/// The longest wait for a service: a check reports an outage, and does not wait for its end.
const PATIENCE: Duration = Duration::from_secs(10);
