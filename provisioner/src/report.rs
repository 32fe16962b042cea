//! The report of a run, for people: the causes of rows that are not as asked, their remedies, the
//! speed of the run, and the page with all of it.

pub(crate) use batch_options::{DEFAULT_REASON, batch_options, quoted};
pub(crate) use causes::{Cause, causes_of};
pub(crate) use held::{held_note, to_disable_note};
pub(crate) use page::{PageError, write_page};
pub(crate) use runs::{RunEntry, list_runs};

mod advice;
mod batch_options;
mod causes;
mod chart;
mod held;
mod options;
mod page;
mod run_summary;
mod runs;
mod text;
mod timeline;
