//! The caller's identity and rights on a DPS. Nothing is written: the entries to delete do not exist, and the
//! requests carry an etag that no entry has.

use hub_types::Etag;
use hub_types::dps::RegistrationId;

use super::rights::{CREDENTIALS, credentials, granted, right};
use super::{Check, Verdict};
use crate::clock;
use crate::dps::{Dps, DpsClient};
use crate::target::OpenDps;

pub(super) const NAMES: [&str; 5] =
    [CREDENTIALS, "enrolment read", "enrolment write", "registration read", "registration write"];

pub(super) async fn checks(dps: &DpsClient) -> Vec<Check> {
    let credentials = match credentials(dps).await {
        Ok(credentials) => credentials,
        Err(failed) => {
            let rest = NAMES.into_iter().skip(1).map(|name| Check::skipped(name, "there is no token"));
            return std::iter::once(failed).chain(rest).collect();
        }
    };
    let Some(nobody) = nobody() else { return vec![credentials] };
    let never = Etag::new("doctor");
    let read = dps.probe().await.map(granted);
    let write = dps.delete(&nobody, Some(&never)).await.map(granted);
    let registration = dps.registration(&nobody).await.map(granted);
    let deletion = dps.delete_registration(&nobody, Some(&never)).await.map(granted);
    let [_, enrollment_read, enrollment_write, registration_read, registration_write] = NAMES;
    let rights = [
        right(enrollment_read, read, "needed by all commands: a policy with EnrollmentRead"),
        right(enrollment_write, write, "needed by `apply` and `undo`: a policy with EnrollmentWrite"),
        right(registration_read, registration, "needed by `retire`: a policy with RegistrationStatusRead"),
        right(
            registration_write,
            deletion,
            "needed by `retire --delete`: a policy with RegistrationStatusWrite",
        ),
    ];
    let is_known = rights.iter().any(|check| check.verdict != Verdict::Fail);
    let credentials = match is_known {
        true => credentials,
        false => Check::fail(
            CREDENTIALS,
            format!("{}, but the DPS lets it do nothing", credentials.seen),
            "check the policy's name and key, or the role in Entra ID, and whether this is the right DPS",
        ),
    };
    [credentials].into_iter().chain(rights).collect()
}

/// Checks that the id scope is known, which connecting as devices needs.
pub(super) fn id_scope(dps: &OpenDps) -> Check {
    match &dps.id_scope {
        Some(scope) => Check::ok("id scope", format!("{scope} was named; the DPS does not tell")),
        None => Check::skipped("id scope", "it is needed by `verify --connect` only, and not named"),
    }
}

/// The id of a device that does not exist.
fn nobody() -> Option<RegistrationId> {
    format!("doctor-{:032x}", clock::now().unix_timestamp_nanos()).parse().ok()
}
