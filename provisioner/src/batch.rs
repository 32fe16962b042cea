//! Reading a batch: from the rows of a file to what is wanted of each identity.

mod twin_template;

pub use twin_template::{RenderedTwin, TemplateError, TwinTemplates};
