//! `status`, `report` and `audit` as they are typed.

use std::path::PathBuf;

use clap::Args;

use crate::model::run_id::RunId;

#[derive(Debug, Args)]
pub(in crate::cli) struct RunArgs {
    /// The number of the run.
    pub(in crate::cli) run: Option<RunId>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ReportArgs {
    /// The number of the run.
    pub(in crate::cli) run: Option<RunId>,
    /// Write the rows that failed or are in conflict, unchanged, to this batch file. Put it beside
    /// the batch, because the paths in the rows are relative to it.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) failed_rows: Option<PathBuf>,
    /// Write the report as one HTML page too. The page needs no other file.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct AuditArgs {
    /// The number of the run.
    pub(in crate::cli) run: Option<RunId>,
    /// Write the pack to this new file. Without it, the pack goes to stdout.
    #[arg(long, short, value_name = "FILE")]
    pub(in crate::cli) out: Option<PathBuf>,
    /// Check this pack instead of writing one.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["run", "out"])]
    pub(in crate::cli) check: Option<PathBuf>,
    /// Require this last hash of the pack.
    #[arg(long, value_name = "HASH", requires = "check")]
    pub(in crate::cli) hash: Option<String>,
}
