//! The table of answers of a DPS. Its error codes are numbers, which name the status again; the statuses decide.
//!
//! Sources, beside those of the hub's table:
//! - `dps`: the definitions of the DPS service API (`azure-rest-api-specs`);
//! - `dps limits`: "Azure IoT Hub Device Provisioning Service limits".

use crate::model::service::ServiceKind;

use super::{CallResult, ClassRow, ErrorClass, ErrorPattern, class_rows};

/// Statuses from the particular to the general.
pub(super) static TABLE: &[ClassRow] = class_rows! {
    ErrorPattern::Status(300, 399) => Permanent, "here", "a DPS never redirects: what answers is not the DPS",
        "check the name of the DPS; where a network wants a sign-in first (a login page), sign in; where calls go through \
         a proxy, set HTTPS_PROXY; nothing was sent on";
    ErrorPattern::Status(401, 401) => Auth, "dps", "", CREDENTIALS;
    ErrorPattern::Status(402, 402) => Permanent, "9110", "the DPS wants to be paid first",
        "ask whoever is responsible for the Azure subscription; then resume the run";
    ErrorPattern::Status(403, 403) => Permanent, "dps limits", "the DPS takes no more enrolments, or no call of this kind",
        "check its number of enrolments, its networking rules (IP filter, private access only) and the rights of the \
         policy or role; then resume the run";
    ErrorPattern::Status(407, 407) => Permanent, "9110", "a proxy wants to know who asks",
        "put the proxy's user into HTTPS_PROXY, or go round it with NO_PROXY";
    ErrorPattern::Status(408, 408) => Transient, "9110", "", LATER;
    ErrorPattern::Status(425, 425) => Transient, "8470", "", LATER;
    ErrorPattern::Status(429, 429) => Throttled, "dps limits", "", THROTTLED;
    ErrorPattern::Unexplained(400, 499) => Foreign, "here", "", FOREIGN;
    ErrorPattern::WithoutOwnCode(ServiceKind::Dps, 404) => Permanent, "here", "what answers has no such operation",
        "check that the address is that of a DPS, not of a hub";
    ErrorPattern::Status(400, 499) => Input, "dps", "", "";
    ErrorPattern::Status(501, 501) => Permanent, "9110", "what answers has no such operation",
        "check that the address is that of a DPS";
    ErrorPattern::Status(505, 505) => Permanent, "9110", "what answers has no such operation",
        "check that the address is that of a DPS";
    ErrorPattern::Status(511, 511) => Foreign, "6585", "the network wants a sign-in first", FOREIGN;
    ErrorPattern::Status(500, 599) => Transient, "dps", "", LATER;
    ErrorPattern::Status(0, u16::MAX) => Foreign, "here", "", FOREIGN;
    ErrorPattern::Other(CallResult::TlsFailure) => Permanent, "here", "", "";
    ErrorPattern::Other(CallResult::NoConnection) => Transient, "here", "", "check that the DPS is up, and that its name and port are right";
    ErrorPattern::Other(CallResult::NoAnswer) => Transient, "9110", "", LATER;
    ErrorPattern::Other(CallResult::NotPromised) => Foreign, "here", "", FOREIGN;
    ErrorPattern::Other(CallResult::OtherShape) => Input, "here", "", "";
};

const CREDENTIALS: &str = "check the connection string's policy and key, and this machine's clock; writing enrolments needs \
     `provisioningserviceowner` or a policy with the right to write enrolments, with Entra ID the role `Device Provisioning \
     Service Data Contributor`";
const FOREIGN: &str = "something between this station and the DPS answers in its place: a login page? Sign in to the network, \
     or set HTTPS_PROXY, or check the name of the DPS";
const LATER: &str = "the DPS, or the way to it, has a problem; run the same command again later";
const THROTTLED: &str = "a DPS takes 1,000 operations a minute; run the same command again later";
