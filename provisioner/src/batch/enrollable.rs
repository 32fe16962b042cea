//! The rows that can't become enrolments of a DPS.

use std::collections::HashSet;

use batch_file::Row;
use cert_tool::Certificate;
use cli_support::causes::with_causes;
use hub_types::dps::RegistrationId;
use hub_types::identity::Status;
use hub_types::shown::ShownBare;

use crate::model::spec::AuthSpec;

/// The reason why a row can't become an enrolment.
pub(super) struct Unenrollable {
    /// The column that stands in the way.
    pub(super) column: &'static str,
    /// Its value, where it may be shown.
    pub(super) value: Option<String>,
    /// What is wrong.
    pub(super) message: String,
    /// What to do about it.
    pub(super) remedy: &'static str,
}

/// The rules of a DPS for the devices of one batch. The length of common names is a rule of every batch.
pub(super) struct EnrollmentRules {
    /// The registration ids so far: a DPS does not tell letter cases apart, which a hub does.
    ids: HashSet<RegistrationId>,
    /// The CA of the enrolment group by which the devices register, if they get no enrolments.
    group_ca: Option<Certificate>,
}

impl EnrollmentRules {
    /// The rules for devices that register by the group of this CA, or by enrolments of their own.
    pub(super) fn new(group_ca: Option<Certificate>) -> Self {
        Self { ids: HashSet::new(), group_ca }
    }

    /// Every reason why a row can't become an enrolment. Modules become none, and are refused by nobody.
    pub(super) fn check(&mut self, row: &Row, auth: Option<&AuthSpec>) -> Vec<Unenrollable> {
        if row.identity.module().is_some() {
            return Vec::new();
        }
        let mut reasons = Vec::new();
        reasons.extend(self.check_id(row));
        reasons.extend(auth.and_then(|auth| match &self.group_ca {
            None => check_auth(row, auth),
            Some(ca) => check_auth_in_group(row, auth, ca),
        }));
        reasons.extend(check_settings(row));
        reasons.extend(self.group_ca.as_ref().and_then(|_| check_status_in_group(row)));
        reasons
    }

    fn check_id(&mut self, row: &Row) -> Option<Unenrollable> {
        let device = row.identity.device();
        let refused = |message: String, remedy| Unenrollable {
            column: "device_id",
            value: Some(device.to_string()),
            message,
            remedy,
        };
        match device.as_str().parse::<RegistrationId>() {
            Err(error) => Some(refused(
                format!("a DPS refuses it as a registration id: {}", with_causes(&error)),
                "use up to 128 letters, digits and `- . _ :`, of which the last is a letter, a digit or `-`",
            )),
            Ok(id) if !self.ids.insert(id.clone()) => Some(refused(
                "an earlier row has the same id but for letter case, which a DPS does not tell apart"
                    .to_owned(),
                "give the devices ids that differ in more than letter case",
            )),
            Ok(_) => None,
        }
    }
}

fn check_auth(row: &Row, auth: &AuthSpec) -> Option<Unenrollable> {
    let refused = |column, message: &str, remedy| Unenrollable {
        column,
        value: None,
        message: message.to_owned(),
        remedy,
    };
    match (auth, &row.certificate) {
        (AuthSpec::Thumbprint { primary: Some(_), .. }, None)
        | (AuthSpec::Thumbprint { primary: None, .. }, _) => Some(refused(
            "primary_thumbprint",
            "an enrolment holds the certificate itself, of which a thumbprint is not enough",
            "name the certificate in the column `certificate`, or leave the thumbprint empty and have a \
                 certificate issued with `--issue CA_DIR`",
        )),
        (AuthSpec::Thumbprint { secondary: Some(_), .. }, Some(_)) => Some(refused(
            "secondary_thumbprint",
            "an enrolment holds certificates, and the row names only the first one",
            "leave it empty: the second certificate can be enrolled when it is used",
        )),
        (AuthSpec::X509Ca | AuthSpec::IssuedCertificate { by_ca: true, .. }, _) => Some(refused(
            "auth",
            "an enrolment of one device holds its certificate; devices that are trusted by their CA have an \
             enrolment group",
            "leave `auth` empty and name the certificate of the device",
        )),
        _ => None,
    }
}

/// Checks the authentication of a device that is to register by the group of a CA. Of the issuers of its
/// certificate, the CA of the group must be one.
fn check_auth_in_group(row: &Row, auth: &AuthSpec, ca: &Certificate) -> Option<Unenrollable> {
    let refused = |column, message: String, remedy| Unenrollable { column, value: None, message, remedy };
    if let AuthSpec::Sas { .. } = auth {
        return Some(refused(
            "auth",
            "an enrolment group of a CA takes devices with certificates, and none with symmetric keys"
                .to_owned(),
            "leave `auth` empty and name the certificate, or apply the row without `--group`",
        ));
    }
    let chain = cert_tool::read_chain(row.certificate.as_ref()?).ok()?;
    let leads_to_ca = chain.iter().any(|one| one.is_issued_by(ca));
    let last = chain.last().filter(|_| !leads_to_ca)?;
    let name = ShownBare(ca.subject());
    let found = match chain.iter().any(|one| one.issuer() == ca.subject()) {
        true => "a CA of the same name with a different key has signed it".to_owned(),
        false => format!("its file ends with a certificate by `{}`", ShownBare(last.issuer())),
    };
    Some(refused(
        "certificate",
        format!("it does not lead to the CA of the enrolment group, `{name}`: {found}"),
        "where an intermediate certificate is missing, put it behind the device's own in the same file; where another \
         CA has issued it, name that CA with `--group-ca`",
    ))
}

fn check_status_in_group(row: &Row) -> Option<Unenrollable> {
    let is_disabled = row.status == Some(Status::Disabled);
    is_disabled.then(|| Unenrollable {
        column: "status",
        value: Some(Status::Disabled.to_string()),
        message: "an enrolment group lets all its devices in".to_owned(),
        remedy: "leave it empty, or apply the row without `--group`: an enrolment of its own can keep it out",
    })
}

fn check_settings(row: &Row) -> Vec<Unenrollable> {
    let mut reasons = Vec::new();
    if let Some(parent) = &row.parent {
        reasons.push(Unenrollable {
            column: "parent",
            value: Some(parent.to_string()),
            message: "an enrolment has no parent".to_owned(),
            remedy: "leave it empty, and set the parent on the hub when the device has registered",
        });
    }
    if let Some(reason) = &row.status_reason {
        reasons.push(Unenrollable {
            column: "status_reason",
            value: Some(reason.as_str().to_owned()),
            message: "an enrolment has a status, and no reason for it".to_owned(),
            remedy: "leave it empty",
        });
    }
    reasons
}
