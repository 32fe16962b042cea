//! The caller's identity and rights on the hub. Nothing is written: the objects to change and
//! delete do not exist, and the requests carry an etag that no object has.

use cli_support::causes::with_causes;
use hub_types::{DeviceId, ErrorCode, IdentityId};
use serde_json::json;

use super::{Check, Verdict};
use crate::clock;
use crate::hub::{Access, Condition, ErrorClass, Hub, HubClient, HubError, HubSize, ServiceClient};

pub(super) const NAMES: [&str; 6] =
    [CREDENTIALS, "registry read", "registry write", "service connect", "twin write", "tier"];

pub(super) async fn checks(hub: &HubClient, size: Option<HubSize>) -> Vec<Check> {
    let credentials = match credentials(hub).await {
        Ok(credentials) => credentials,
        Err(failed) => {
            let rest = NAMES.into_iter().skip(1).map(|name| Check::skipped(name, "there is no token"));
            return std::iter::once(failed).chain(rest).collect();
        }
    };
    let Some(nobody) = nobody() else { return vec![credentials] };
    let read = hub.probe().await.map(|devices| format!("granted; devices on the hub: {devices}"));
    let write = hub.delete_identity(&nobody, &never()).await.map(granted);
    let twin = hub.twin(&nobody).await.map(granted);
    let tier = tier(&twin, size);
    let patch = hub.merge_twin(&nobody, &json!({"tags": {}}), &never()).await.map(granted);
    let rights = [
        right("registry read", read, "needed by `plan`, and by batches with `parent` or keys"),
        right("registry write", write, "needed by `apply`: a policy with RegistryWrite"),
        right("service connect", twin, "needed to read twins: a policy with ServiceConnect"),
        right("twin write", patch, "needed to change twins: a policy with ServiceConnect"),
    ];
    let is_known = rights.iter().any(|check| check.verdict != Verdict::Fail);
    let credentials = match is_known {
        true => credentials,
        false => Check::fail(
            CREDENTIALS,
            format!("{}, but the hub lets it do nothing", credentials.seen),
            "check the policy's name and key, or the role in Entra ID, and whether this is the right hub",
        ),
    };
    [credentials].into_iter().chain(rights).chain([tier]).collect()
}

/// Checks that there is a token; the failure if there is none.
pub(super) async fn credentials(client: &ServiceClient) -> Result<Check, Check> {
    match client.authorize().await {
        Ok(()) => Ok(Check::ok(CREDENTIALS, who(client.access()))),
        Err(error) => {
            let remedy = "set up one of these ways to sign in; `--auth` names the one to take";
            Err(Check::fail(CREDENTIALS, with_causes(&error), remedy))
        }
    }
}

pub(super) fn granted<T>(_: T) -> String {
    "granted".to_owned()
}

fn who(access: &Access) -> String {
    match access {
        Access::Entra(entra) => {
            format!("Entra ID knows this caller by its {}", entra.found().unwrap_or("sign-in"))
        }
        Access::SharedKey(key) => format!("policy `{}`", key.policy),
    }
}

/// A device that does not exist.
fn nobody() -> Option<IdentityId> {
    let id = DeviceId::new(&format!("doctor-{:032x}", clock::now().unix_timestamp_nanos()));
    id.ok().map(IdentityId::from)
}

/// A condition that no object meets.
fn never() -> Condition {
    Condition::Etag("doctor".to_owned())
}

pub(super) fn right(name: &'static str, called: Result<String, HubError>, remedy: &'static str) -> Check {
    match called {
        Ok(seen) => Check::ok(name, seen),
        Err(error) if error.class() == ErrorClass::Auth => Check::fail(name, with_causes(&error), remedy),
        Err(error) if error.class() == ErrorClass::Permanent => {
            Check::fail(name, with_causes(&error), error.hint().unwrap_or(remedy))
        }
        // The object to change is not there, or has a different version.
        Err(error) if matches!(error.status(), Some(404 | 412)) => Check::ok(name, granted(error)),
        Err(error) => Check::warning(name, with_causes(&error), "it did not answer as expected"),
    }
}

/// Checks for a basic tier. The data plane does not report the tier, but a basic hub refuses all
/// twins.
fn tier(twin: &Result<String, HubError>, size: Option<HubSize>) -> Check {
    let basic = Some(ErrorCode::OperationNotAvailableInCurrentTier);
    match (twin, size) {
        (Err(error), _) if error.code() == basic => {
            Check::fail("tier", "a basic hub, which has no twins", "use a hub of tier F1, S1, S2 or S3")
        }
        (_, Some(HubSize { tier, units })) => {
            Check::ok("tier", format!("{units} × {tier} was named; the hub does not tell"))
        }
        _ => Check::skipped(
            "tier",
            "the hub does not tell its tier and units; give them as --tier and --units",
        ),
    }
}

/// The check of the caller's identity.
pub(super) const CREDENTIALS: &str = "credentials";
