//! The `attestation` object: the way in which a device proves that an enrolment is meant for it.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use crate::dps::certificate::CertificatePair;
use crate::symmetric_key::{KeyDocument, KeyMembers, KeyPairError, SymmetricKeys};

/// The attestation of an enrolment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "AttestationDocument")]
pub enum Attestation {
    /// Symmetric keys. In requests: without keys DPS generates both. In most answers: not shown.
    SymmetricKey(Option<SymmetricKeys>),
    /// A Trusted Platform Module.
    Tpm(TpmAttestation),
    /// An X.509 certificate of the device.
    X509(X509Attestation),
}

impl Attestation {
    /// The value of the `type` member.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::SymmetricKey(_) => "symmetricKey",
            Self::Tpm(_) => "tpm",
            Self::X509(_) => "x509",
        }
    }

    /// The attestation without symmetric keys, as DPS returns it for reading.
    pub fn without_keys(&self) -> Self {
        match self {
            Self::SymmetricKey(_) => Self::SymmetricKey(None),
            other => other.clone(),
        }
    }
}

/// The certificates that an X.509 attestation names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum X509Attestation {
    /// CA certificates that were uploaded to the DPS, by name.
    CaReferences(CaReferences),
    /// Certificates of the device itself. For individual enrolments.
    ClientCertificates(CertificatePair),
    /// Certificates that sign the devices' certificates. For groups.
    SigningCertificates(CertificatePair),
}

/// The names of CA certificates of a DPS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaReferences {
    /// The first name.
    pub primary: String,
    /// The second name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary: Option<String>,
}

impl CaReferences {
    /// Both names, or the only one.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.primary.as_str()).chain(self.secondary.as_deref())
    }
}

/// The keys of a Trusted Platform Module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TpmAttestation {
    /// The public endorsement key in base64.
    pub endorsement_key: String,
    /// The public storage root key in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_root_key: Option<String>,
}

impl Serialize for Attestation {
    /// Writes `type` and, unless keys are not shown, the member of that name.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Attestation", 2)?;
        object.serialize_field("type", self.type_name())?;
        match self {
            Self::SymmetricKey(None) => {}
            Self::SymmetricKey(Some(keys)) => {
                object.serialize_field(self.type_name(), &KeyMembers::of(Some(keys)))?
            }
            Self::Tpm(tpm) => object.serialize_field(self.type_name(), tpm)?,
            Self::X509(x509) => object.serialize_field(self.type_name(), x509)?,
        }
        object.end()
    }
}

impl Serialize for X509Attestation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("X509Attestation", 1)?;
        match self {
            Self::CaReferences(names) => object.serialize_field("caReferences", names)?,
            Self::ClientCertificates(pair) => object.serialize_field("clientCertificates", pair)?,
            Self::SigningCertificates(pair) => object.serialize_field("signingCertificates", pair)?,
        }
        object.end()
    }
}

/// The rule that an `attestation` object breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttestationError {
    /// Keys that are no valid pair.
    #[error("{0}")]
    Keys(#[from] KeyPairError),
    /// The member that the type needs is missing.
    #[error("an attestation of type `{0}` needs the member `{0}`")]
    Missing(&'static str),
    /// No type, and not exactly one member from which it follows.
    #[error("an attestation needs a `type`: symmetricKey, tpm or x509")]
    NoType,
    /// A `type` that does not exist.
    #[error("`{0}` is no attestation type; known are symmetricKey, tpm and x509")]
    UnknownType(String),
    /// Not exactly one kind of certificates.
    #[error(
        "an x509 attestation has exactly one of clientCertificates, signingCertificates and caReferences"
    )]
    X509Kind,
}

/// The object as clients write it: any member may be absent or null.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttestationDocument {
    #[serde(rename = "type")]
    kind: Option<String>,
    symmetric_key: Option<KeyDocument>,
    tpm: Option<TpmAttestation>,
    x509: Option<X509Document>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct X509Document {
    client_certificates: Option<CertificatePair>,
    signing_certificates: Option<CertificatePair>,
    ca_references: Option<CaReferences>,
}

impl TryFrom<AttestationDocument> for Attestation {
    type Error = AttestationError;

    fn try_from(document: AttestationDocument) -> Result<Self, AttestationError> {
        let kind = document.kind()?;
        match kind.to_ascii_lowercase().as_str() {
            "symmetrickey" => Ok(Self::SymmetricKey(document.symmetric_key.unwrap_or_default().parse()?)),
            "tpm" => document.tpm.map(Self::Tpm).ok_or(AttestationError::Missing("tpm")),
            "x509" => Ok(Self::X509(document.x509.ok_or(AttestationError::Missing("x509"))?.parse()?)),
            _ => Err(AttestationError::UnknownType(kind)),
        }
    }
}

impl AttestationDocument {
    /// The type, or the only member there is.
    fn kind(&self) -> Result<String, AttestationError> {
        if let Some(kind) = self.kind.as_ref().filter(|kind| !kind.is_empty()) {
            return Ok(kind.clone());
        }
        let members = [
            ("symmetricKey", self.symmetric_key.is_some()),
            ("tpm", self.tpm.is_some()),
            ("x509", self.x509.is_some()),
        ];
        let mut given = members.into_iter().filter_map(|(name, is_given)| is_given.then_some(name));
        match (given.next(), given.next()) {
            (Some(only), None) => Ok(only.to_owned()),
            _ => Err(AttestationError::NoType),
        }
    }
}

impl X509Document {
    fn parse(self) -> Result<X509Attestation, AttestationError> {
        match (self.client_certificates, self.signing_certificates, self.ca_references) {
            (Some(pair), None, None) => Ok(X509Attestation::ClientCertificates(pair)),
            (None, Some(pair), None) => Ok(X509Attestation::SigningCertificates(pair)),
            (None, None, Some(names)) => Ok(X509Attestation::CaReferences(names)),
            _ => Err(AttestationError::X509Kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, from_value, json, to_value};

    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    fn parse(document: Value) -> Result<Attestation, String> {
        from_value(document).map_err(|error| error.to_string())
    }

    #[test]
    fn every_way_of_giving_no_keys_means_generate() {
        for keys in [json!({}), json!(null), json!({"primaryKey": null, "secondaryKey": ""})] {
            let parsed = parse(json!({"type": "symmetricKey", "symmetricKey": keys}));
            assert_eq!(parsed, Ok(Attestation::SymmetricKey(None)));
        }
    }

    #[test]
    fn keys_are_shown_or_left_out() {
        let document =
            json!({"type": "symmetricKey", "symmetricKey": {"primaryKey": KEY, "secondaryKey": KEY}});
        let attestation = parse(document.clone()).unwrap();
        assert_eq!(to_value(&attestation).unwrap(), document);
        assert_eq!(to_value(attestation.without_keys()).unwrap(), json!({"type": "symmetricKey"}));
    }

    #[test]
    fn members_of_a_client_that_sends_nulls_count_as_absent() {
        let document = json!({
            "type": "x509", "tpm": null, "symmetricKey": null,
            "x509": {"clientCertificates": {"primary": {"certificate": "MAECAw=="}, "secondary": null},
                     "signingCertificates": null, "caReferences": null},
        });
        let attestation = parse(document).unwrap();
        assert!(matches!(&attestation, Attestation::X509(X509Attestation::ClientCertificates(_))));
        let expected =
            json!({"type": "x509", "x509": {"clientCertificates": {"primary": {"certificate": "MAECAw=="}}}});
        assert_eq!(to_value(attestation).unwrap(), expected);
    }

    #[test]
    fn the_type_follows_from_the_only_member() {
        let tpm = parse(json!({"tpm": {"endorsementKey": "AToAAQ=="}})).unwrap();
        assert_eq!(tpm.type_name(), "tpm");
        let references = parse(json!({"x509": {"caReferences": {"primary": "factory-ca"}}})).unwrap();
        assert!(matches!(references, Attestation::X509(X509Attestation::CaReferences(_))));
    }

    #[test]
    fn mistakes_are_named_without_keys() {
        for (document, part) in [
            (json!({}), "needs a `type`"),
            (json!({"type": "password"}), "`password`"),
            (json!({"type": "none"}), "`none`"),
            (json!({"type": "tpm"}), "needs the member `tpm`"),
            (json!({"type": "x509", "x509": {}}), "exactly one of"),
            (json!({"symmetricKey": {"primaryKey": KEY}}), "both keys"),
            (json!({"symmetricKey": {"primaryKey": "hunter2", "secondaryKey": KEY}}), "primaryKey"),
        ] {
            let error = parse(document.clone()).unwrap_err();
            assert!(error.contains(part) && !error.contains("hunter2"), "{document}: {error}");
        }
    }
}
