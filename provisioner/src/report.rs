//! The report of a run, for people: the causes of rows that are not as asked, their remedies, the
//! speed of the run, and the page with all of it.

pub(crate) use batch_options::{DEFAULT_REASON, batch_options, quoted};
pub(crate) use causes::Cause;
pub(crate) use notes::{held_note, left_enabled_note, to_disable_note, undone_note, unread_note};
#[cfg(test)]
pub(crate) use page::write_page;
pub(crate) use page::{PAGE_BEGIN, PageError};
pub(crate) use row::ROW_COLUMNS;
pub(crate) use run_report::{OpenReport, RunReport};
pub(crate) use runs::{RunEntry, list_runs};

mod advice;
mod batch_options;
mod causes;
mod chart;
mod notes;
mod options;
mod page;
mod row;
mod run_report;
mod run_summary;
mod runs;
mod text;
mod timeline;
