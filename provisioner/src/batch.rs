//! Reading a batch: from the rows of a file to the specification of each identity.

mod files;
mod load;
mod row;
mod twin_template;

pub use files::{GivenFiles, RowFiles};
pub use load::{BatchSink, Discard, LoadError, LoadOptions, Loaded, load, sha256_of_file};
pub use row::CertificateSource;
pub use twin_template::{RenderedTwin, TemplateError, TwinTemplates};
