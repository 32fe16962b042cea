//! [`Verified`]: the result of verifying.

use std::collections::HashSet;
use std::path::PathBuf;

use hub_types::{DeviceId, IdentityId};
use serde::Serialize;

use super::{CertificateMismatches, Connections};
use crate::clock::Timestamp;
use crate::ledger::{LedgerRow, Verification};
use crate::model::compare::{Comparison, Difference, DifferencePath, Observation};

/// The result of verifying a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Verified {
    /// Identities that were read.
    pub(crate) checked: u64,
    /// Those that are as the batch wants them.
    pub(crate) equal: u64,
    /// Identities whose twin was written since: they count as equal too.
    pub(crate) twin_written_since: u64,
    /// Devices that a run of the ledger keeps disabled until they are released: they count as equal too.
    pub(crate) held: u64,
    /// Those that are not on the hub.
    pub(crate) missing: u64,
    /// Identities that differ, or whose certificate differs.
    pub(crate) different: u64,
    /// Identities that are on the hub and not in the batch, if they were searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extra: Option<u64>,
    /// Those that are missing or different, in the order of the lines, then those that are extra.
    #[serde(rename = "deviations")]
    pub(crate) drifts: Vec<Drift>,
    /// The devices that are disabled on the hub.
    #[serde(skip)]
    pub(crate) disabled: HashSet<DeviceId>,
    /// The result of connecting as devices, if that was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connections: Option<Connections>,
}

/// An identity that is not as the batch wants it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Drift {
    /// The kind of the drift.
    pub(crate) kind: DriftKind,
    /// The line of the batch file, if it has one.
    pub(crate) line: Option<u64>,
    /// The identity: `device` or `device/module`.
    pub(crate) identity: String,
    /// The differences.
    pub(crate) differences: Vec<Difference>,
    /// The file with its certificate, if it matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
    /// The fault of that file.
    #[serde(rename = "exchanged", skip_serializing_if = "Option::is_none")]
    pub(crate) mismatch: Option<String>,
}

/// The kind of an identity's drift from the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DriftKind {
    /// The identity differs.
    Different,
    /// It is not in the batch.
    Extra,
    /// It is not on the hub.
    Missing,
}

impl DriftKind {
    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Different => "different",
            Self::Extra => "extra",
            Self::Missing => "missing",
        }
    }
}

impl Verified {
    /// Returns true if the hub holds all values of the batch, and every connection confirmed it.
    pub(crate) fn all_well(&self) -> bool {
        self.drifts.is_empty() && self.connections.as_ref().is_none_or(Connections::all_well)
    }

    /// The counts by themselves, as the ledger remembers them.
    pub(crate) fn counts(&self, at: Timestamp) -> Verification {
        let Self { checked, equal, twin_written_since, held, missing, different, .. } = *self;
        Verification { at, checked, equal, twin_written_since, held, missing, different }
    }

    /// Counts certificates that are not those that were issued.
    pub(crate) fn add_certificate_mismatches(&mut self, mut mismatch: CertificateMismatches) {
        for drift in &mut self.drifts {
            let identity = IdentityId::from_common_name(&drift.identity).ok();
            if let Some(found) = identity.and_then(|identity| mismatch.remove(&identity)) {
                drift.certificate = Some(found.file);
                drift.mismatch = Some(found.reason);
            }
        }
        for (identity, found) in mismatch {
            self.equal = self.equal.saturating_sub(1);
            self.different += 1;
            self.drifts.push(Drift {
                certificate: Some(found.file),
                mismatch: Some(found.reason),
                ..Drift::new(DriftKind::Different, Some(found.line), identity.to_string(), Vec::new())
            });
        }
        self.sort();
    }

    /// Sorts drifts by line; those without a line come last.
    pub(super) fn sort(&mut self) {
        self.drifts.sort_by_key(|drift| (drift.line.is_none(), drift.line));
    }

    /// Adds to each identity with a different thumbprint the file of its certificate.
    pub(crate) fn name_certificates<E>(
        &mut self,
        mut find: impl FnMut(&IdentityId) -> Result<Option<PathBuf>, E>,
    ) -> Result<(), E> {
        for drift in &mut self.drifts {
            let is_about_it =
                drift.differences.iter().any(|one| one.path == DifferencePath::PrimaryThumbprint);
            if let (true, None, Ok(identity)) =
                (is_about_it, &drift.certificate, IdentityId::from_common_name(&drift.identity))
            {
                drift.certificate = find(&identity)?.map(|path| path.to_string_lossy().into_owned());
            }
        }
        Ok(())
    }

    /// Counts identities that are on the hub and not in the batch.
    pub(crate) fn add_extra(&mut self, identities: Vec<IdentityId>) {
        self.extra = Some(identities.len() as u64);
        self.drifts.extend(
            identities
                .into_iter()
                .map(|identity| Drift::new(DriftKind::Extra, None, identity.to_string(), Vec::new())),
        );
    }

    pub(super) fn add(&mut self, row: &LedgerRow, seen: &Observation) {
        let drift = drift(&seen.comparison);
        self.twin_written_since += u64::from(matches!(seen.comparison, Comparison::TwinModified(_)));
        self.held += u64::from(seen.hold.is_some() && drift.is_none());
        if seen.is_disabled && row.spec.identity.module().is_none() {
            self.disabled.insert(row.spec.identity.device().clone());
        }
        self.count(row, drift.as_deref());
    }

    /// Counts an identity: equal if it has no drift, missing if it has an empty one.
    pub(crate) fn count(&mut self, row: &LedgerRow, drift: Option<&[Difference]>) {
        self.checked += 1;
        let (counter, kind) = match drift {
            None => {
                self.equal += 1;
                return;
            }
            Some([]) => (&mut self.missing, DriftKind::Missing),
            Some(_) => (&mut self.different, DriftKind::Different),
        };
        *counter += 1;
        let differences = drift.unwrap_or_default().to_vec();
        let identity = row.spec.identity.to_string();
        self.drifts.push(Drift::new(kind, Some(row.line), identity, differences));
    }
}

impl Drift {
    fn new(kind: DriftKind, line: Option<u64>, identity: String, differences: Vec<Difference>) -> Self {
        Self { kind, line, identity, differences, certificate: None, mismatch: None }
    }
}

/// The differences of an identity from the batch, if there are any: empty if it is missing.
pub(super) fn drift(comparison: &Comparison) -> Option<Vec<Difference>> {
    match comparison {
        Comparison::InSync | Comparison::TwinModified(_) => None,
        Comparison::Missing => Some(Vec::new()),
        Comparison::TwinNotWritten => Some(vec![Difference {
            path: DifferencePath::Twin,
            expected: "written".into(),
            found: "never written".into(),
        }]),
        Comparison::IdentityDiffers(differences)
        | Comparison::Staged(differences)
        | Comparison::StagedByRun { differences, .. }
        | Comparison::TwinDiffers(differences) => Some(differences.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::etags::Etags;
    use crate::model::spec::{IdentitySpec, StateSpec};
    use crate::verify::certificates::CertificateMismatch;

    fn row(line: u64, id: &str) -> LedgerRow {
        LedgerRow::new(line, IdentitySpec { identity: identity(id), state: StateSpec::default() })
    }

    fn identity(id: &str) -> IdentityId {
        IdentityId::from_common_name(id).unwrap()
    }

    fn seen(comparison: Comparison) -> Observation {
        Observation { comparison, etags: Etags::default(), is_disabled: false, hold: None }
    }

    fn other_thumbprint() -> Comparison {
        let path = DifferencePath::PrimaryThumbprint;
        Comparison::IdentityDiffers(vec![Difference { path, expected: "A".into(), found: "B".into() }])
    }

    #[test]
    fn each_identity_is_counted_once_whatever_is_wrong_with_it() {
        let mut verified = Verified::default();
        verified.add(&row(2, "d"), &seen(Comparison::InSync));
        verified.add(&row(3, "d/m"), &seen(other_thumbprint()));
        verified.add(&row(4, "e"), &seen(Comparison::Missing));
        assert_eq!((verified.checked, verified.equal, verified.different, verified.missing), (3, 1, 1, 1));
        let mismatch = |line| CertificateMismatch { line, file: "f.pem".into(), reason: "why".into() };
        let found = [(identity("d"), mismatch(2)), (identity("d/m"), mismatch(3))];
        verified.add_certificate_mismatches(found.into());
        verified.add_extra(vec![identity("x")]);
        assert_eq!((verified.checked, verified.equal, verified.different, verified.missing), (3, 0, 2, 1));
        let told: Vec<_> =
            verified.drifts.iter().map(|one| (one.line, one.kind, one.mismatch.is_some())).collect();
        assert_eq!(
            told,
            [
                (Some(2), DriftKind::Different, true),
                (Some(3), DriftKind::Different, true),
                (Some(4), DriftKind::Missing, false),
                (None, DriftKind::Extra, false),
            ]
        );
        assert!(!verified.all_well());
    }

    #[test]
    fn another_thumbprint_names_the_file_of_its_certificate() {
        let mut verified = Verified::default();
        verified.add(&row(2, "d"), &seen(other_thumbprint()));
        verified.add(&row(3, "e"), &seen(Comparison::Missing));
        let find = |identity: &IdentityId| Ok::<_, ()>(Some(format!("{identity}.pem").into()));
        verified.name_certificates(find).unwrap();
        let files: Vec<_> = verified.drifts.iter().map(|one| one.certificate.as_deref()).collect();
        assert_eq!(files, [Some("d.pem"), None]);
    }
}
