//! Reading a batch: from the rows of a file to the specification of each identity, and into a ledger.

mod check;
mod enrollable;
mod failed_rows;
mod issued;
mod ledger_sink;
mod load;
mod problem_groups;
mod problem_limit;
mod row;
mod temporary;
mod twin_template;

pub(crate) use check::check;
pub(crate) use failed_rows::write_failed_rows_beside;
pub(crate) use failed_rows::{FailedRowsError, write_failed_rows};
pub(crate) use issued::{
    IssuePreview, IssuedCredential, complete_rows, find_ca, find_issued, find_issued_with, issued_elsewhere,
    key_source, not_issued, profile_row,
};
pub(crate) use ledger_sink::LedgerSink;
pub(crate) use ledger_sink::{BatchChoice, BatchFile, LoadRules};
pub(crate) use load::{Discard, LoadError, LoadOptions, Loaded, load, sha256_of_file};
pub(crate) use problem_limit::ProblemLimit;
pub(crate) use row::CertificateSource;
pub(crate) use temporary::{TemporaryRun, begin_temporary, open_issued, open_owners};
