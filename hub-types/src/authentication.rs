//! The `authentication` object: the credentials that an identity proves itself with.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use crate::symmetric_key::{KeyDocument, KeyError, KeyMembers, KeyPairError, SymmetricKeys};
use crate::thumbprint::{Thumbprint, ThumbprintError};

/// The way in which a device or a module authenticates itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "AuthenticationDocument")]
pub enum Authentication {
    /// X.509, trusted through a CA that the hub knows; the certificate's CN is the identity.
    CertificateAuthority,
    /// No authentication; only the hub's own edge modules have it.
    None,
    /// Shared access signatures; without keys the hub generates both.
    Sas(Option<SymmetricKeys>),
    /// X.509, trusted through the certificate's thumbprint; either of the two slots may match.
    SelfSigned {
        /// The first slot.
        primary: Option<Thumbprint>,
        /// The second slot, for exchanging certificates without an interruption.
        secondary: Option<Thumbprint>,
    },
}

impl Authentication {
    /// The value of the `type` member.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::CertificateAuthority => "certificateAuthority",
            Self::None => "none",
            Self::Sas(_) => "sas",
            Self::SelfSigned { .. } => "selfSigned",
        }
    }

    /// The two thumbprint slots; both empty unless the type is `selfSigned`.
    pub fn thumbprints(&self) -> X509Thumbprint {
        match self {
            Self::SelfSigned { primary, secondary } => {
                X509Thumbprint { primary_thumbprint: *primary, secondary_thumbprint: *secondary }
            }
            _ => X509Thumbprint::default(),
        }
    }
}

impl Default for Authentication {
    /// The value that a hub assumes for an absent `authentication`.
    fn default() -> Self {
        Self::Sas(None)
    }
}

impl Serialize for Authentication {
    /// Writes every member, nulls included, and `type` last: the C# client's setters for the other
    /// two overwrite a `type` that came before them.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let keys = match self {
            Self::Sas(keys) => KeyMembers::of(keys.as_ref()),
            _ => KeyMembers::default(),
        };
        let mut object = serializer.serialize_struct("Authentication", 3)?;
        object.serialize_field("symmetricKey", &keys)?;
        object.serialize_field("x509Thumbprint", &self.thumbprints())?;
        object.serialize_field("type", self.type_name())?;
        object.end()
    }
}

/// The `x509Thumbprint` object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct X509Thumbprint {
    /// The first slot.
    // A live hub was seen to write the capitalised name in twins.
    #[serde(default, alias = "PrimaryThumbprint")]
    pub primary_thumbprint: Option<Thumbprint>,
    /// The second slot.
    #[serde(default, alias = "SecondaryThumbprint")]
    pub secondary_thumbprint: Option<Thumbprint>,
}

/// The rule that an `authentication` object breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthenticationError {
    /// A text that is not a valid key.
    #[error("Invalid device key in {member}")]
    Key {
        /// The member with the key.
        member: &'static str,
        /// The fault of the key.
        source: KeyError,
    },
    /// Only one of the two keys.
    #[error("Either no keys or both keys can be set")]
    OneKeyOnly,
    /// A text that is not a valid thumbprint.
    #[error("StringIsNotThumbprint: {member}: {source}")]
    Thumbprint {
        /// The member with the thumbprint.
        member: &'static str,
        /// The fault of the thumbprint.
        source: ThumbprintError,
    },
    /// A `type` that does not exist.
    #[error("`{0}` is no authentication type; known are sas, selfSigned, certificateAuthority, none")]
    UnknownType(String),
}

/// The object as clients write it: any member may be absent, null, or an empty string.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthenticationDocument {
    symmetric_key: Option<KeyDocument>,
    x509_thumbprint: Option<ThumbprintDocument>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ThumbprintDocument {
    #[serde(alias = "PrimaryThumbprint")]
    primary_thumbprint: Option<String>,
    #[serde(alias = "SecondaryThumbprint")]
    secondary_thumbprint: Option<String>,
}

impl TryFrom<AuthenticationDocument> for Authentication {
    type Error = AuthenticationError;

    fn try_from(document: AuthenticationDocument) -> Result<Self, AuthenticationError> {
        let thumbprints = document.x509_thumbprint.unwrap_or_default();
        let kind =
            document.kind.filter(|kind| !kind.is_empty()).unwrap_or_else(|| inferred_type(&thumbprints));
        match kind.to_ascii_lowercase().as_str() {
            "certificateauthority" => Ok(Self::CertificateAuthority),
            "none" => Ok(Self::None),
            "sas" => Ok(Self::Sas(document.symmetric_key.unwrap_or_default().parse()?)),
            "selfsigned" => thumbprints.parse(),
            _ => Err(AuthenticationError::UnknownType(kind)),
        }
    }
}

/// The Node client fills an absent type in like this before it sends; a server can do no better.
fn inferred_type(thumbprints: &ThumbprintDocument) -> String {
    let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
    let any = given(&thumbprints.primary_thumbprint) || given(&thumbprints.secondary_thumbprint);
    if any { "selfSigned" } else { "sas" }.to_owned()
}

impl From<KeyPairError> for AuthenticationError {
    fn from(error: KeyPairError) -> Self {
        match error {
            KeyPairError::Key { member, source } => Self::Key { member, source },
            KeyPairError::OneKeyOnly => Self::OneKeyOnly,
        }
    }
}

impl ThumbprintDocument {
    fn parse(self) -> Result<Authentication, AuthenticationError> {
        let thumbprint = |member, text: Option<String>| match text {
            Some(text) if !text.is_empty() => {
                text.parse().map(Some).map_err(|source| AuthenticationError::Thumbprint { member, source })
            }
            _ => Ok(None),
        };
        Ok(Authentication::SelfSigned {
            primary: thumbprint("primaryThumbprint", self.primary_thumbprint)?,
            secondary: thumbprint("secondaryThumbprint", self.secondary_thumbprint)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json};

    fn parse(value: serde_json::Value) -> Result<Authentication, String> {
        from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn every_way_of_giving_no_keys_means_generate() {
        for document in [
            json!({}),
            json!({"type": "sas"}),
            json!({"type": "sas", "symmetricKey": {}}),
            json!({"type": "sas", "symmetricKey": null}),
            json!({"type": "sas", "symmetricKey": {"primaryKey": "", "secondaryKey": ""}}),
            json!({"symmetricKey": {"primaryKey": null, "secondaryKey": null}, "x509Thumbprint": {}}),
        ] {
            assert_eq!(parse(document.clone()), Ok(Authentication::Sas(None)), "{document}");
        }
    }

    #[test]
    fn one_key_alone_is_refused() {
        let error = parse(json!({"symmetricKey": {"primaryKey": "AAAAAAAAAAAAAAAAAAAAAA=="}})).unwrap_err();
        assert!(error.contains("Either no keys or both keys can be set"), "{error}");
    }

    #[test]
    fn a_bad_key_is_refused_without_being_shown() {
        let error =
            parse(json!({"symmetricKey": {"primaryKey": "hunter2", "secondaryKey": "x"}})).unwrap_err();
        assert!(error.contains("primaryKey") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_thumbprint_without_type_means_self_signed() {
        let sha1 = "a".repeat(40);
        let parsed = parse(json!({"x509Thumbprint": {"primaryThumbprint": sha1}})).unwrap();
        assert_eq!(parsed, Authentication::SelfSigned { primary: sha1.parse().ok(), secondary: None });
        assert_eq!(
            parse(json!({"type": "selfSigned"})),
            Ok(Authentication::SelfSigned { primary: None, secondary: None })
        );
    }

    #[test]
    fn a_thumbprint_with_colons_is_refused_by_name() {
        let error = parse(json!({"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": "AB:CD"}}));
        assert!(error.unwrap_err().contains("StringIsNotThumbprint"));
    }

    #[test]
    fn an_unknown_type_is_named() {
        assert!(parse(json!({"type": "password"})).unwrap_err().contains("`password`"));
    }

    #[test]
    fn type_is_written_last_and_nulls_are_written() {
        assert_eq!(
            serde_json::to_string(&Authentication::CertificateAuthority).unwrap(),
            r#"{"symmetricKey":{"primaryKey":null,"secondaryKey":null},"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"type":"certificateAuthority"}"#
        );
    }
}
