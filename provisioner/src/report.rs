//! What a run came to, for people: why rows are not as asked and what to do, how fast it went, and the page
//! that shows it all.

pub use advice::{Advice, Verb, advice};
pub use causes::{Cause, Causes};
pub use held::held_note;
pub use page::{PageError, write_page};
pub use timeline::{Bucket, Sitting, Timeline};

mod advice;
mod causes;
mod chart;
mod held;
mod page;
mod survey;
mod text;
mod timeline;
