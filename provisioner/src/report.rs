//! The report of a run, for people: the causes of rows that are not as asked, their remedies, the
//! speed of the run, and the page with all of it.

pub use advice::{Advice, RunVerb, advice};
pub use causes::{Cause, causes_of};
pub use held::held_note;
pub use page::{PageError, write_page};
pub use runs::{RunEntry, list_runs};
pub use timeline::{ActivePeriod, Bucket, Timeline};

mod advice;
mod causes;
mod chart;
mod held;
mod page;
mod run_summary;
mod runs;
mod text;
mod timeline;
