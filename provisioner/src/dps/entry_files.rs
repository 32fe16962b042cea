//! The files that settings of entries come from: the address of a function, and the certificate of a group.

use std::io;
use std::path::{Path, PathBuf};

use cert_tool::{Certificate, CertificateAuthority};
use hub_types::dps::certificate::CertificateDer;
use hub_types::dps::enrollment::AllocationPolicy;
use hub_types::shown::{ShownBare, ShownPath};
use hub_types::{Thumbprint, Timestamp};
use time::OffsetDateTime;

use crate::clock;
use crate::model::entry_settings::{EntryOptions, EntrySettings, GroupOptions};
use crate::model::group_row::identity_of_group;
use crate::model::spec::{AuthSpec, IdentitySpec, StateSpec};

/// The reason why the settings of entries can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum EntryError {
    /// The certificate of the group has expired.
    #[error(
        "the CA certificate `{}` of the enrolment group has expired at {end}: no device could register by it",
        ShownPath(path)
    )]
    Expired {
        /// The file.
        path: PathBuf,
        /// The end of its validity.
        end: Timestamp,
    },
    /// The id of the group is too long.
    #[error(
        "the id of an enrolment group of a run has at most 122 characters, and letters, digits and `- . _ :` only"
    )]
    GroupId,
    /// Some devices of the batch are edge devices, and some are not.
    #[error(
        "{edge} of {devices} devices of the batch have `edge`, and an enrolment group makes all its devices alike"
    )]
    MixedEdge {
        /// The number of edge devices.
        edge: u64,
        /// The number of devices.
        devices: u64,
    },
    /// No CA for the group is known.
    #[error("no CA for the enrolment group is named")]
    NoGroupCa,
    /// The certificate of the group is not one of a CA.
    #[error(
        "`{}` is the certificate of {}, which is not a CA: no device could register by it",
        ShownPath(path),
        ShownBare(subject)
    )]
    NotCa {
        /// The file.
        path: PathBuf,
        /// The subject.
        subject: String,
    },
    /// The CA that issues certificates for the devices is neither the one of the group nor below it.
    #[error(
        "the CA in `{}` is neither the CA of the enrolment group, `{}`, nor below it: no device with a certificate of \
         it could register by the group",
        ShownPath(folder),
        ShownPath(path)
    )]
    OtherCa {
        /// The certificate of the group.
        path: PathBuf,
        /// The folder of the CA that issues.
        folder: PathBuf,
    },
    /// The certificate of the group is not valid yet.
    #[error("the CA certificate `{}` of the enrolment group is valid from {begin} on only", ShownPath(path))]
    NotYetValid {
        /// The file.
        path: PathBuf,
        /// The begin of its validity.
        begin: Timestamp,
    },
    /// The allocation is by a function, and no function is named.
    #[error("the allocation `custom` needs the address of its function")]
    NoWebhook,
    /// The certificate of the group can't be read.
    #[error(transparent)]
    Unreadable(#[from] cert_tool::Error),
    /// The file with the address of the function can't be read.
    #[error("can't read `{}`, the file with the address of the function", ShownPath(path))]
    Webhook {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The file with the address of the function has something else.
    #[error("`{}` does not hold one address that begins with https:// or http://", ShownPath(path))]
    WebhookAddress {
        /// The file.
        path: PathBuf,
    },
}

impl EntryError {
    /// The remedy, for people.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Expired { .. } | Self::NotYetValid { .. } => {
                "name the current certificate of the CA with `--group-ca FILE`, and check this machine's clock"
            }
            Self::GroupId => "choose a shorter id",
            Self::MixedEdge { .. } => "split the batch: one group for the edge devices, one for the others",
            Self::NoGroupCa => {
                "name its certificate with `--group-ca FILE`, or the CA's folder with `--issue CA_DIR`"
            }
            Self::OtherCa { .. } => {
                "leave `--group-ca` out, or name the certificate of the CA that `--issue` names, or of one above it"
            }
            Self::NotCa { .. } => "name the certificate of the CA that signs the devices' certificates",
            Self::NoWebhook | Self::WebhookAddress { .. } => {
                "write the address into a file of mode 0600 and name it with `--webhook-file FILE`"
            }
            Self::Unreadable(_) | Self::Webhook { .. } => "check the file and its rights",
        }
    }
}

/// Reads the settings of a choice.
pub(crate) fn read_settings(options: &EntryOptions) -> Result<EntrySettings, EntryError> {
    let is_custom = options.allocation == Some(AllocationPolicy::Custom);
    let webhook = options.webhook_file.as_deref().map(read_webhook).transpose()?;
    match webhook {
        None if is_custom => Err(EntryError::NoWebhook),
        webhook => Ok(EntrySettings::new(options.clone(), webhook)),
    }
}

fn read_webhook(path: &Path) -> Result<String, EntryError> {
    let text = cli_support::text::read(path)
        .map_err(|source| EntryError::Webhook { path: path.to_owned(), source })?;
    let address = text.trim();
    let is_address = ["https://", "http://"].iter().any(|scheme| address.starts_with(scheme));
    match is_address && !address.contains(char::is_whitespace) {
        true => Ok(address.to_owned()),
        false => Err(EntryError::WebhookAddress { path: path.to_owned() }),
    }
}

/// The CA of a group.
pub(crate) struct GroupCa {
    certificate: Certificate,
    options: GroupOptions,
}

impl GroupCa {
    /// Reads the certificate of the group that a choice names, if it names one. The CA in the folder `issuing`, if
    /// one issues certificates for the devices, must be the one of the group or below it.
    pub(crate) fn of(options: &EntryOptions, issuing: Option<&Path>) -> Result<Option<Self>, EntryError> {
        let Some(group) = &options.group else { return Ok(None) };
        let group = Self::read(group, clock::now())?;
        if let Some(folder) = issuing.filter(|folder| CertificateAuthority::exists(folder)) {
            group.check_issuer(folder)?;
        }
        Ok(Some(group))
    }

    /// Reads the certificate of a group, which must be one of a CA that is valid now.
    pub(crate) fn read(options: &GroupOptions, now: OffsetDateTime) -> Result<Self, EntryError> {
        let path = options.certificate.clone();
        let certificate = cert_tool::read_certificate(&path)?;
        if !certificate.is_ca() {
            return Err(EntryError::NotCa { path, subject: certificate.subject().to_owned() });
        }
        let (begin, end) = (certificate.not_before(), certificate.not_after());
        if now < begin {
            return Err(EntryError::NotYetValid { path, begin: begin.into() });
        }
        if now > end {
            return Err(EntryError::Expired { path, end: end.into() });
        }
        Ok(Self { certificate, options: options.clone() })
    }

    /// The certificate of the CA.
    pub(crate) fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Refuses the CA in a folder if its certificates do not lead to the CA of the group.
    fn check_issuer(&self, folder: &Path) -> Result<(), EntryError> {
        let group = &self.certificate;
        let is_same = |one: &Certificate| {
            one.subject() == group.subject() && one.public_key_info() == group.public_key_info()
        };
        let chain = CertificateAuthority::chain_in(folder)?;
        match chain.iter().any(|one| is_same(one) || one.is_issued_by(group)) {
            true => Ok(()),
            false => {
                Err(EntryError::OtherCa { path: self.options.certificate.clone(), folder: folder.to_owned() })
            }
        }
    }

    /// The certificate in DER.
    pub(crate) fn der(&self) -> CertificateDer {
        CertificateDer::new(self.certificate.der())
    }

    /// The specification of the row of the group, for so many devices, of which some are edge devices.
    pub(crate) fn spec(&self, devices: u64, edge: u64) -> Result<IdentitySpec, EntryError> {
        if edge != 0 && edge != devices {
            return Err(EntryError::MixedEdge { edge, devices });
        }
        let identity = identity_of_group(&self.options.id).ok_or(EntryError::GroupId)?;
        let primary: Thumbprint = self.certificate.sha256().into();
        let auth = AuthSpec::Thumbprint { primary: Some(primary), secondary: None };
        Ok(IdentitySpec { identity, state: StateSpec { auth, edge: edge != 0, ..StateSpec::default() } })
    }
}
