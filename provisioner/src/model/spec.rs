//! The requested state of one identity, in the form that is compared with the hub, sent to it and
//! stored in the ledger.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use hub_types::bulk::{BulkItem, BulkProperties, ImportMode};
use hub_types::identity::{Capabilities, ModuleSpec, Status, StatusReason};
use hub_types::shown::ShownBare;
use hub_types::symmetric_key::SymmetricKeys;
use hub_types::twin::{JsonObject, Twin};
use hub_types::{Authentication, DeviceId, IdentityId, Sha256Thumbprint, Thumbprint};
use serde::{Deserialize, Serialize};

use crate::model::digest::Sha256Digest;
use crate::model::scopes::{Scopes, is_edge, parent_in, scope_of_parent};

/// Everything the batch wants of one identity. It holds no secret: symmetric keys that a batch
/// gives stay in memory, in [`GivenKeys`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IdentitySpec {
    /// The id of the device or module.
    pub(crate) identity: IdentityId,
    /// The rest, as the ledger stores it.
    pub(crate) state: StateSpec,
}

/// The requested state of an identity, without its id.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateSpec {
    /// The requested authentication.
    pub(crate) auth: AuthSpec,
    /// The requested permission to connect; not used for modules.
    #[serde(default, skip_serializing_if = "is_enabled")]
    pub(crate) status: Status,
    /// The reason for its status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status_reason: Option<StatusReason>,
    /// The status reason with which the device is kept disabled until it is released, whatever its own status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hold: Option<StatusReason>,
    /// True if the device runs the IoT Edge runtime.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) edge: bool,
    /// The edge device that is its parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<DeviceId>,
    /// Tags of the initial twin.
    #[serde(default, skip_serializing_if = "JsonObject::is_empty")]
    pub(crate) tags: Arc<JsonObject>,
    /// Desired properties of the initial twin.
    #[serde(default, skip_serializing_if = "JsonObject::is_empty")]
    pub(crate) desired: Arc<JsonObject>,
}

/// The requested authentication of an identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum AuthSpec {
    /// By a certificate that is yet to be issued: then one of the other variants takes this one's place.
    IssuedCertificate {
        /// True if the hub trusts it by its CA, and not by its thumbprint.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_ca: bool,
        /// The request to sign; without one a key is made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        csr: Option<GivenPem>,
        /// The public key to certify instead of making one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        public_key: Option<GivenPem>,
        /// The profile of the CA that it is to have.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        profile: Option<CertificateProfile>,
    },
    /// By symmetric keys: those that the batch gives, or two that the hub generates.
    Sas {
        /// True if the batch gives them.
        given: bool,
    },
    /// By a certificate with one of these thumbprints.
    Thumbprint {
        /// The first slot.
        primary: Option<Thumbprint>,
        /// The second slot.
        secondary: Option<Thumbprint>,
    },
    /// By a certificate of a CA that the hub trusts.
    X509Ca,
}

/// The profile of a certificate, and the values of the row that its templates use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CertificateProfile {
    /// Its name in the CA's `profile.toml`.
    pub(crate) name: String,
    /// The columns of the row, without secrets.
    pub(crate) columns: BTreeMap<String, String>,
}

/// The location of a certificate signing request or a public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GivenPem {
    /// In a file.
    Path(PathBuf),
    /// In the batch itself, as PEM.
    Pem(String),
}

impl AuthSpec {
    /// The authentication that replaces this one when the certificate has been issued.
    pub(crate) fn with_issued(&self, sha256: Sha256Thumbprint) -> Self {
        match self {
            Self::IssuedCertificate { by_ca: true, .. } => Self::X509Ca,
            Self::IssuedCertificate { by_ca: false, .. } => {
                Self::Thumbprint { primary: Some(sha256.into()), secondary: None }
            }
            other => other.clone(),
        }
    }

    /// Returns true if the certificate has not been issued yet.
    pub(crate) fn is_to_be_issued(&self) -> bool {
        matches!(self, Self::IssuedCertificate { .. })
    }
}

impl Default for AuthSpec {
    fn default() -> Self {
        Self::IssuedCertificate { by_ca: false, csr: None, public_key: None, profile: None }
    }
}

/// The symmetric keys that a batch gives: they are wiped when dropped and never reach the ledger.
pub(crate) type GivenKeys = std::collections::HashMap<IdentityId, SymmetricKeys>;

impl StateSpec {
    /// The status that the device has on the hub when it is as specified: disabled while it is on hold.
    pub(crate) fn status_on_hub(&self) -> Status {
        if self.hold.is_some() { Status::Disabled } else { self.status }
    }

    /// The status reason that goes with it.
    pub(crate) fn status_reason_on_hub(&self) -> Option<&StatusReason> {
        self.hold.as_ref().or(self.status_reason.as_ref())
    }

    /// Puts a device that may connect into quarantine: it is left disabled until it is released. A device
    /// that is to be disabled anyhow stays as it is.
    pub(crate) fn quarantine(&mut self) {
        if self.status == Status::Enabled {
            self.hold = Some(own_reason(QUARANTINE));
        }
    }

    /// Returns true if there is an initial twin to write.
    pub(crate) fn has_twin(&self) -> bool {
        !self.tags.is_empty() || !self.desired.is_empty()
    }

    /// The SHA-256 of the state in canonical JSON: equal states have equal digests. It fails where a path
    /// is not UTF-8.
    pub(crate) fn digest(&self) -> Result<Sha256Digest, serde_json::Error> {
        // Maps are sorted by name, so the text is canonical.
        Ok(Self::digest_of(&serde_json::to_string(self)?))
    }

    /// The digest of the state whose canonical JSON is this.
    pub(crate) fn digest_of(text: &str) -> Sha256Digest {
        Sha256Digest::of(text.as_bytes())
    }
}

/// A part of an identity on the hub that this program does not understand, so that it can't be written back as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "its `{member}` on the hub is `{value}`, which this version does not know: it can't be kept as it is"
)]
pub(crate) struct TwinNotUnderstood {
    member: &'static str,
    value: String,
}

impl IdentitySpec {
    /// The specification of an identity as it is on the hub, without the values of its twin, for a change
    /// of a part.
    pub(crate) fn of_twin(twin: &Twin) -> Result<Self, TwinNotUnderstood> {
        let not_understood =
            |member, value: &str| TwinNotUnderstood { member, value: ShownBare(value).to_string() };
        let slots = twin.x509_thumbprint;
        let auth = match twin.authentication_type.as_str() {
            "certificateAuthority" => AuthSpec::X509Ca,
            "selfSigned" => AuthSpec::Thumbprint {
                primary: slots.primary_thumbprint,
                secondary: slots.secondary_thumbprint,
            },
            "sas" => AuthSpec::Sas { given: false },
            other => return Err(not_understood("authenticationType", other)),
        };
        let parent = match scope_of_parent(twin) {
            None => None,
            Some(scope) => {
                let parent = parent_in(scope).and_then(|parent| parent.parse().ok());
                Some(parent.ok_or_else(|| not_understood("parentScopes", scope))?)
            }
        };
        let state = StateSpec {
            auth,
            status: twin.status,
            status_reason: twin.status_reason.clone(),
            edge: is_edge(twin),
            parent,
            ..StateSpec::default()
        };
        Ok(Self { identity: twin.identity(), state })
    }

    /// The `authentication` to send; `None` where the certificate is still to be issued.
    pub(crate) fn authentication(&self, keys: &GivenKeys) -> Option<Authentication> {
        match self.state.auth {
            AuthSpec::IssuedCertificate { .. } => None,
            AuthSpec::Sas { .. } => Some(Authentication::Sas(keys.get(&self.identity).cloned())),
            AuthSpec::Thumbprint { primary, secondary } => {
                Some(Authentication::SelfSigned { primary, secondary })
            }
            AuthSpec::X509Ca => Some(Authentication::CertificateAuthority),
        }
    }

    /// The bulk item that creates the identity with its initial twin, in the place that `scopes` name.
    pub(crate) fn create_item(&self, keys: &GivenKeys, scopes: Scopes) -> BulkItem {
        let state = &self.state;
        let mut item = BulkItem::new(&self.identity, ImportMode::Create);
        item.authentication = self.authentication(keys);
        item.status = Some(state.status_on_hub());
        item.status_reason = state.status_reason_on_hub().cloned();
        item.tags = non_empty(&state.tags);
        item.properties = non_empty(&state.desired)
            .map(|desired| BulkProperties { desired: Some(desired), reported: None });
        item.capabilities = state.edge.then_some(Capabilities { iot_edge: true });
        (item.device_scope, item.parent_scopes) = (scopes.device, scopes.parents);
        item
    }

    /// The body that creates the module by itself, where a hub takes no modules in bulk.
    pub(crate) fn module_spec(&self, keys: &GivenKeys) -> Option<ModuleSpec> {
        Some(ModuleSpec {
            module_id: self.identity.module()?.clone(),
            device_id: Some(self.identity.device().clone()),
            managed_by: None,
            authentication: self.authentication(keys),
        })
    }
}

/// The status reason with a text of this program.
#[expect(clippy::expect_used, reason = "the texts are constants that a status reason has room for")]
pub(crate) fn own_reason(text: &'static str) -> StatusReason {
    StatusReason::new(text).expect("a status reason has room for the text")
}

/// The status reason of a device in quarantine.
pub(crate) const QUARANTINE: &str = "provisioner: in quarantine until it is released";

fn non_empty(object: &JsonObject) -> Option<JsonObject> {
    (!object.is_empty()).then(|| object.clone())
}

fn is_enabled(status: &Status) -> bool {
    *status == Status::Enabled
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state(auth: AuthSpec) -> StateSpec {
        StateSpec {
            auth,
            desired: json!({"b": 1, "a": 2}).as_object().cloned().unwrap().into(),
            ..StateSpec::default()
        }
    }

    #[test]
    fn the_ledger_form_comes_back_and_has_one_hash() {
        for auth in [
            AuthSpec::IssuedCertificate {
                by_ca: true,
                csr: Some(GivenPem::Path("d.csr".into())),
                public_key: None,
                profile: Some(CertificateProfile {
                    name: "gateway".to_owned(),
                    columns: [("x_line".to_owned(), "L1".to_owned())].into(),
                }),
            },
            AuthSpec::Sas { given: true },
            AuthSpec::Thumbprint { primary: "a".repeat(40).parse().ok(), secondary: None },
            AuthSpec::X509Ca,
        ] {
            let state = state(auth);
            let text = serde_json::to_string(&state).unwrap();
            let back: StateSpec = serde_json::from_str(&text).unwrap();
            assert_eq!(back, state);
            assert_eq!(back.digest().unwrap(), state.digest().unwrap());
        }
        let digest = |auth| state(auth).digest().unwrap();
        assert_ne!(digest(AuthSpec::X509Ca), digest(AuthSpec::Sas { given: false }));
    }

    #[test]
    fn given_keys_are_sent_but_not_stored() {
        let identity = IdentityId::parse("d", None).unwrap();
        let key = hub_types::SymmetricKey::from_bytes(&[9; 32]);
        let keys = SymmetricKeys { primary: key.clone(), secondary: key.clone() };
        let desired =
            IdentitySpec { identity: identity.clone(), state: state(AuthSpec::Sas { given: true }) };
        let item = desired.create_item(&GivenKeys::from([(identity, keys)]), Scopes::default());
        assert!(serde_json::to_string(&item).unwrap().contains(key.expose_text()));
        assert!(!serde_json::to_string(&desired.state).unwrap().contains(key.expose_text()));
    }
}
