//! The hub's documents besides devices and modules: configurations and jobs, each by its id.
//!
//! Like the registry, this is a plain structure without locks, I/O or a clock. There are few
//! documents, so each is stored, and written, as a whole.

use std::collections::{BTreeMap, BTreeSet};

use hub_types::Timestamp;

use crate::api_error::ApiError;

pub(crate) use configuration::{Configuration, ConfigurationSpec, EtagCondition};
pub(crate) use content::{ContentKind, TwinSettings, invalid as invalid_content};
pub(crate) use deployment::{Deployment, DeploymentStack};
pub(crate) use job::{DeviceOutcome, ImportExportJob, Job, JobStatus, JobWork, ScheduledJob, ScheduledWork};
pub(crate) use state_file::{ConfigurationsFile, ExportedConfigurations};

mod configuration;
mod content;
mod deployment;
mod job;
mod state_file;

/// All configurations and jobs of the hub.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Documents {
    configurations: BTreeMap<String, Configuration>,
    jobs: BTreeMap<String, Job>,
    /// The highest number of a job so far.
    last_number: u64,
    /// The numbers of the scheduled jobs that have begun in this process, regardless of snapshots.
    begun: BTreeSet<u64>,
}

/// The kind and the id of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DocumentKey {
    pub(crate) kind: DocumentKind,
    pub(crate) id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DocumentKind {
    Configuration,
    Job,
}

impl DocumentKey {
    fn of_job(id: &str) -> Self {
        Self { kind: DocumentKind::Job, id: id.to_owned() }
    }
}

impl DocumentKind {
    /// The name that the store uses.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Job => "job",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Configuration, Self::Job].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl Documents {
    /// The document in its stored form; `None` if it does not exist.
    pub(crate) fn stored_form(&self, key: &DocumentKey) -> serde_json::Result<Option<Vec<u8>>> {
        match key.kind {
            DocumentKind::Configuration => {
                self.configurations.get(&key.id).map(serde_json::to_vec).transpose()
            }
            DocumentKind::Job => self.jobs.get(&key.id).map(serde_json::to_vec).transpose(),
        }
    }

    /// Adds a document in its stored form.
    pub(crate) fn restore(&mut self, key: DocumentKey, content: &[u8]) -> serde_json::Result<()> {
        match key.kind {
            DocumentKind::Configuration => {
                let configuration: Configuration = serde_json::from_slice(content)?;
                self.configurations.insert(key.id, configuration.with_system_queries());
            }
            DocumentKind::Job => {
                let job: Job = serde_json::from_slice(content)?;
                self.last_number = self.last_number.max(job.number);
                self.jobs.insert(key.id, job);
            }
        }
        Ok(())
    }

    /// Takes over the content of a snapshot. Jobs that were running then, or have begun since,
    /// fail.
    pub(crate) fn replace_with(&mut self, mut next: Self, now: Timestamp, touched: &mut Vec<DocumentKey>) {
        next.last_number = next.last_number.max(self.last_number);
        next.begun = std::mem::take(&mut self.begun);
        next.fail_begun(now);
        touched.extend(self.keys().chain(next.keys()));
        *self = next;
    }

    fn keys(&self) -> impl Iterator<Item = DocumentKey> {
        let of = |kind| move |id: &String| DocumentKey { kind, id: id.clone() };
        let configurations = self.configurations.keys().map(of(DocumentKind::Configuration));
        configurations.chain(self.jobs.keys().map(of(DocumentKind::Job)))
    }
}

/// Checks the id of a configuration or job: lower-case letters, digits and a few signs.
fn check_id(what: &str, id: &str, signs: &str, longest: usize) -> Result<(), ApiError> {
    let is_legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || signs.contains(c);
    if (1..=longest).contains(&id.len()) && id.chars().all(is_legal) {
        return Ok(());
    }
    Err(ApiError::argument(format!(
        "the id of a {what} has 1 to {longest} characters out of a-z, 0-9 and {signs}"
    )))
}

#[cfg(test)]
mod tests;
