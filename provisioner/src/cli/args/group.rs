//! The enrolment group by which the devices of a batch register.

use std::path::PathBuf;

use clap::Args;
use hub_types::dps::EnrollmentGroupId;

use super::JobArgs;
use crate::dps::EntryError;
use crate::model::entry_settings::GroupOptions;

#[derive(Debug, Args)]
#[command(next_help_heading = "DPS")]
pub(super) struct GroupArgs {
    /// Let the devices register by one enrolment group with this id, for the CA of their certificates, in place of
    /// enrolments of their own.
    #[arg(long, value_name = "ID", requires = "dps")]
    group: Option<EnrollmentGroupId>,
    /// Read the certificate of the group's CA from this file [default: that of `--issue`, or
    /// `issuing.pem` beside the batch].
    #[arg(long, value_name = "FILE", requires = "group")]
    group_ca: Option<PathBuf>,
}

impl GroupArgs {
    /// Returns true if a group is named.
    pub(super) fn is_given(&self) -> bool {
        self.group.is_some()
    }

    /// The group, with the certificate of the CA that issues, or that has issued the batch.
    pub(super) fn options(&self, job: &JobArgs) -> Result<Option<GroupOptions>, EntryError> {
        let Some(id) = self.group.clone() else { return Ok(None) };
        let issuing = job.issued.issue.as_ref().map(|folder| folder.join(ISSUING));
        let beside = || Some(job.batch.file.with_file_name(ISSUING)).filter(|file| file.exists());
        let certificate = self.group_ca.clone().or(issuing).or_else(beside);
        let certificate = certificate.ok_or(EntryError::NoGroupCa)?;
        Ok(Some(GroupOptions { id, certificate }))
    }
}

/// The certificate of the CA that issues, in its folder and beside what it has issued.
const ISSUING: &str = "issuing.pem";
