//! The check of a station before its work, without a change on the hub.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::ledger::LedgerLocation;
use crate::model::observer::RunObserver;
use crate::model::service_status::StatusListener;
use crate::target::{HubLabel, OpenHub, TargetChoice, TargetError, with_hub};

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

/// Checks this station, and everything between it and the hub.
pub(crate) async fn run_checks(
    hub: TargetChoice,
    ledger: &LedgerLocation,
    observer: &dyn RunObserver,
) -> Result<(HubLabel, Vec<Check>), TargetError> {
    let checks =
        async |hub: &OpenHub| Ok((hub.label.clone(), checks(hub, ledger, observer.status_listener()).await));
    with_hub(hub, PATIENCE, observer, checks).await
}

async fn checks(hub: &OpenHub, ledger: &LedgerLocation, status: StatusListener) -> Vec<Check> {
    let mut checks = station::checks(ledger, status).await;
    let network = network::checks(hub).await;
    let is_reached = network.iter().any(|check| check.name == network::TLS && check.is_well());
    checks.extend(network);
    checks.extend(match is_reached {
        true => rights::checks(&hub.client, hub.size).await,
        // Without an answer each call would be tried for minutes.
        false => rights::NAMES.map(|name| Check::skipped(name, "the hub can't be asked")).into(),
    });
    checks
}

/// The longest wait for the hub: a check reports an outage, and does not wait for its end.
const PATIENCE: Duration = Duration::from_secs(10);
