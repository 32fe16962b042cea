//! [`Refusal`]: why one identity gets no certificate, while the others do.

use hub_types::shown::{ShownBare, ShownPath};
use std::path::PathBuf;

use hub_types::IdentityId;
use hub_types::id::IdError;
use hub_types::shown::ShownText;

use crate::error::Error;
use crate::weak_keys::WeakKey;

/// The reason why one identity gets no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It has a certificate already, for another key than the request's.
    #[error("it has a certificate already, for a key that differs from that of this request")]
    AlreadyIssued,
    /// It has a certificate already, in another place.
    #[error("it has a certificate already, in `{}`", ShownPath(certificate))]
    IssuedElsewhere {
        /// The place of the existing certificate.
        certificate: PathBuf,
    },
    /// Its certificate was revoked.
    #[error("its certificate was revoked")]
    Revoked,
    /// Its certificate is on hold: it may become good again, or be revoked for good.
    #[error("its certificate is on hold (certificateHold)")]
    OnHold,
    /// There is nothing to renew.
    #[error("it has no certificate to renew")]
    NothingToRenew,
    /// The output has an older certificate of it.
    #[error("an older certificate of it is in the same folder")]
    OlderIsThere,
    /// The public key is none.
    #[error("its public key can't be read: {reason}", reason = ShownBare(reason))]
    BadPublicKey {
        /// The reason.
        reason: String,
    },
    /// The request is no request.
    #[error("its request can't be read")]
    BadCsr(#[source] Box<Error>),
    /// The file of the request holds its private key too.
    #[error("its file holds a private key too, so that others may have it: the key is disclosed")]
    DisclosedKey,
    /// The request is not signed with the key that it asks for.
    #[error("its request has a bad signature: it was altered, or the sender does not have the key")]
    BadSignature,
    /// X.509 bounds a common name to 64 characters.
    #[error("its common name has {length} characters, X.509 allows 64")]
    CommonNameTooLong {
        /// The number of its characters.
        length: usize,
    },
    /// Something of other origin is where the identity's files should go.
    #[error("`{}` is there already, and not from here", ShownPath(path))]
    FolderOccupied {
        /// The occupied path.
        path: PathBuf,
    },
    /// What was asked for can't be made of it: a bundle for a service that it can't use.
    #[error("{reason}", reason = ShownBare(reason))]
    NotBundled {
        /// The reason.
        reason: String,
    },
    /// A batch says who may ask, and has no row for it.
    #[error("it is not in the batch")]
    NotExpected,
    /// A batch says who may ask, and its row says that it has a certificate, or uses none.
    #[error("its row in the batch asks for no certificate: it has one, or uses symmetric keys")]
    NotWanted,
    /// The key is that of another identity.
    #[error("its key is that of `{other}`")]
    KeyOfAnother {
        /// The other one.
        other: IdentityId,
    },
    /// The key is that of the CA, or of one above it.
    #[error("its key is that of a CA: whoever has it could issue certificates")]
    KeyOfCa,
    /// A certificate of the key was revoked because others have the key, or had the CA's.
    #[error("its key is compromised: a certificate with it was revoked for that reason")]
    CompromisedKey,
    /// A CA on the path does not permit one of its names.
    #[error("a CA above it forbids one of its names: {reason}", reason = ShownBare(reason))]
    NameConstraints {
        /// The CA, the name and the constraint.
        reason: String,
    },
    /// The request has the name of the CA that would sign it.
    #[error("its name is that of the CA that would sign it")]
    NameOfCa,
    /// The request's subject has no common name, or several.
    #[error("its request has {count} common names, it needs exactly one")]
    NotOneCommonName {
        /// The number of its common names.
        count: usize,
    },
    /// The request's common name is no `deviceId` and no `deviceId/moduleId`.
    #[error("its request's common name {} is not an identity", ShownText(name))]
    NotAnIdentity {
        /// The common name, shortened.
        name: String,
        /// The cause.
        source: IdError,
    },
    /// The request asks for another identity.
    #[error("its request is for `{found}`")]
    OtherIdentity {
        /// The identity in the request.
        found: IdentityId,
    },
    /// The CA's policy has a rule against it.
    #[error("the CA's policy forbids it: rule `{rule}`: {reason}", reason = ShownBare(reason))]
    Policy {
        /// The rule, as in `policy.toml`.
        rule: &'static str,
        /// The reason that the rule gives for this identity.
        reason: String,
    },
    /// The profile can't make its certificate of its row.
    #[error("profile {profile}: {reason}", profile = ShownBare(profile), reason = ShownBare(reason))]
    Profile {
        /// The profile with the file and the line.
        profile: String,
        /// The key in the profile, and why.
        reason: String,
    },
    /// The profile that it asks for can't be used.
    #[error("{reason}", reason = ShownBare(reason))]
    ProfileChoice {
        /// The reason.
        reason: String,
    },
    /// It is to be renewed without a profile, and its certificate has parts that only a profile gives.
    #[error(
        "its certificate has {parts}, which a renewal without a profile would lose",
        parts = ShownBare(parts)
    )]
    ProfileNeeded {
        /// The parts.
        parts: String,
    },
    /// It was asked for twice, and refused the first time.
    #[error("it was refused already, further up")]
    Repeated,
    /// The request is signed in a way that can't be verified here.
    #[error("its request is signed with an algorithm that is not supported")]
    UnknownSignature,
    /// The request is signed in a way that can be forged.
    #[error("its request is signed with {algorithm}, which is weak")]
    WeakSignature {
        /// The algorithm.
        algorithm: &'static str,
    },
    /// The hub does not take such keys, or nobody should.
    #[error("its key is not acceptable: {reason}", reason = ShownBare(reason))]
    WeakKey {
        /// The reason.
        reason: String,
    },
}

impl From<WeakKey> for Refusal {
    fn from(weak: WeakKey) -> Self {
        match weak {
            WeakKey::Damaged | WeakKey::NotOnCurve => Self::BadPublicKey { reason: weak.to_string() },
            weak => Self::WeakKey { reason: weak.to_string() },
        }
    }
}

impl Refusal {
    /// The rule that it breaks: a word for scripts, which never changes.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::AlreadyIssued => "already_issued",
            Self::IssuedElsewhere { .. } => "issued_elsewhere",
            Self::Revoked => "revoked",
            Self::OnHold => "on_hold",
            Self::NothingToRenew => "nothing_to_renew",
            Self::OlderIsThere => "older_is_there",
            Self::BadPublicKey { .. } => "bad_public_key",
            Self::BadCsr(_) => "bad_request",
            Self::DisclosedKey => "disclosed_key",
            Self::BadSignature => "bad_signature",
            Self::CommonNameTooLong { .. } => "common_name_too_long",
            Self::FolderOccupied { .. } => "folder_occupied",
            Self::NotBundled { .. } => "not_bundled",
            Self::NotExpected => "not_expected",
            Self::NotWanted => "not_wanted",
            Self::KeyOfAnother { .. } => "key_of_another",
            Self::KeyOfCa => "key_of_ca",
            Self::CompromisedKey => "compromised_key",
            Self::NameConstraints { .. } => "name_constraints",
            Self::NameOfCa => "name_of_ca",
            Self::NotOneCommonName { .. } => "one_common_name",
            Self::NotAnIdentity { .. } => "no_identity",
            Self::OtherIdentity { .. } => "other_identity",
            Self::Policy { rule, .. } => rule,
            Self::Profile { .. } | Self::ProfileChoice { .. } | Self::ProfileNeeded { .. } => "profile",
            Self::Repeated => "repeated",
            Self::UnknownSignature | Self::WeakSignature { .. } => "unknown_signature",
            Self::WeakKey { .. } => "weak_key",
        }
    }

    /// Returns advice on what to do about the refusal, if there is any.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::AlreadyIssued | Self::IssuedElsewhere { .. } => Some(
                "renew it (`cert-tool renew --ca CA --device-id ID --out NEW_DIR`), or issue to a different \
                     folder (--out NEW_DIR --replace)",
            ),
            Self::Revoked => {
                Some("give the device a new key and issue to a different folder (--out NEW_DIR --replace)")
            }
            Self::OnHold => Some(
                "release it (`cert-tool revoke --ca CA --device-id ID --release`, or `--root --name NAME` for a CA that a \
                 root has signed), or revoke it for good with a different --reason",
            ),
            Self::OlderIsThere => {
                Some("replace and renew into a different folder: a list has one row for each identity")
            }
            Self::BadPublicKey { .. } => Some("give a SubjectPublicKeyInfo, as PEM or as base64 of its DER"),
            Self::NothingToRenew => None,
            Self::CommonNameTooLong { .. } => {
                Some("shorten the ids, or allow long common names: some TLS stacks will refuse them")
            }
            Self::DisclosedKey => Some("make a new key on the device, and send nothing but its request"),
            Self::FolderOccupied { .. } => Some("move it away"),
            Self::NameConstraints { .. } => Some(
                "change the name, in the id or in the profile, or have the CA signed with different limits \
                 (`cert-tool ca sign NEW_DIR/issuing.csr --ca ROOT --out NEW.pem` with --permit, --exclude)",
            ),
            Self::NameOfCa => Some("give the CA below a different name"),
            Self::KeyOfAnother { .. } => Some("make a key on each device; a key is never shared"),
            Self::KeyOfCa => {
                Some("ask with a different key: that of a CA signs certificates and nothing else")
            }
            Self::NotBundled { .. } => {
                Some("leave it out, or make its bundle for a service and a program that it can use")
            }
            Self::CompromisedKey => Some("make a new key, and a new request with it"),
            Self::WeakKey { .. } => {
                Some("make a new key, on P-256 or P-384, or RSA with 2048 bits or more and exponent 65537")
            }
            Self::NotAnIdentity { .. } | Self::NotOneCommonName { .. } | Self::OtherIdentity { .. } => {
                Some("the subject must be `CN=deviceId` or `CN=deviceId/moduleId`, of the identity it is for")
            }
            Self::UnknownSignature | Self::WeakSignature { .. } => Some("sign it with SHA-256 or SHA-384"),
            Self::Policy { .. } => {
                Some("`cert-tool ca show CA` shows the policy, `cert-tool ca policy CA` changes it")
            }
            Self::ProfileNeeded { .. } => {
                Some("renew it with its profile: --profile, --subject, or the column `profile` of a batch")
            }
            Self::Profile { .. } => Some("correct the row, or the profile"),
            Self::ProfileChoice { .. } => Some(
                "correct the column `profile` of the row; `cert-tool ca show CA` lists the profiles of a CA",
            ),
            Self::NotExpected => Some("add a row for it, if the device is yours"),
            Self::BadCsr(_) | Self::BadSignature | Self::NotWanted | Self::Repeated => None,
        }
    }
}
