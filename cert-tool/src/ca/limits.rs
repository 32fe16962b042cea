//! [`Limits`]: what the certificate of a CA limits below it. A renewal keeps it.

use x509_parser::oid_registry::OID_X509_EXT_NAME_CONSTRAINTS;

use crate::error::Error;
use crate::verify::name_constraints::IssuerConstraints;
use crate::x509::certificate::Certificate;
use crate::x509::encoder::EncodedExtension;

/// The limits in the certificate of a CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limits {
    /// The number of CAs that may stand below it; `None` for any number.
    pub(super) path_length: Option<u8>,
    /// The extension with the limits on names.
    pub(super) constraints: Option<EncodedExtension>,
    /// The limits on names, for people.
    names: String,
    /// The contents of the other extensions that limit what stands below, as [`OTHERS`] lists them.
    others: Vec<Option<Vec<u8>>>,
}

impl Limits {
    /// Reads the limits in a certificate.
    pub(super) fn of(certificate: &Certificate) -> Result<Self, Error> {
        let parsed = certificate.parsed();
        let constraints =
            parsed.extensions().iter().find(|extension| extension.oid == OID_X509_EXT_NAME_CONSTRAINTS);
        let value_of = |oid: &str| {
            let mut extensions = parsed.extensions().iter();
            extensions.find(|one| one.oid.to_id_string() == oid).map(|one| one.value.to_vec())
        };
        Ok(Self {
            path_length: path_length(certificate),
            constraints: constraints.map(EncodedExtension::copy_of).transpose()?,
            names: match IssuerConstraints::of(&parsed) {
                None => "none".to_owned(),
                Some(Ok(names)) => names.to_string(),
                Some(Err(_)) => "damaged".to_owned(),
            },
            others: OTHERS.iter().map(|(oid, _)| value_of(oid)).collect(),
        })
    }

    /// The path length, for people.
    pub(super) fn path_length_text(&self) -> String {
        self.path_length.map_or_else(|| "none".to_owned(), |length| length.to_string())
    }

    /// The limits on names, for people.
    pub(super) fn names_text(&self) -> &str {
        &self.names
    }

    /// Names each limit that is another one in a new certificate.
    pub(super) fn changes_in(&self, new: &Self) -> Vec<String> {
        let mut changes = Vec::new();
        if self.path_length != new.path_length {
            let (before, now) = (self.path_length_text(), new.path_length_text());
            changes.push(format!("its path length was {before}, and is {now} now"));
        }
        if self.constraints != new.constraints {
            let (before, now) = (self.names_text(), new.names_text());
            changes.push(format!("its name constraints were: {before}; they are now: {now}"));
        }
        let others = OTHERS.iter().zip(self.others.iter().zip(&new.others));
        changes.extend(others.filter(|(_, (before, now))| before != now).map(
            |((_, name), (before, now))| match (before, now) {
                (None, _) => format!("it has the extension {name} now"),
                (_, None) => format!("it has no extension {name} any more"),
                _ => format!("its extension {name} is a different one"),
            },
        ));
        changes
    }
}

/// The number of CAs that may stand below a CA; no certificate of this program has more than 255.
pub(super) fn path_length(ca: &Certificate) -> Option<u8> {
    ca.path_length().map(|length| u8::try_from(length).unwrap_or(u8::MAX))
}

/// The extensions that limit what stands below a CA or what its key may do, apart from those above (RFC 5280 §4.2.1).
const OTHERS: [(&str, &str); 5] = [
    ("2.5.29.15", "keyUsage"),
    ("2.5.29.32", "certificatePolicies"),
    ("2.5.29.36", "policyConstraints"),
    ("2.5.29.37", "extKeyUsage"),
    ("2.5.29.54", "inhibitAnyPolicy"),
];
