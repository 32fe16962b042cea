//! `check`: is the batch clean?

use batch_file::Problem;
use cli_support::exit::Exit;
use hub_types::shown::ShownBare;
use serde::Serialize;

use super::args::{CheckArgs, Format};
use super::context::ResultContext;
use super::failure::Failure;
use super::printer::{Printer, json_line};
use super::row_list::members_of;
use crate::batch::{Loaded, ProblemLimit, check};
use cli_support::counted::counted;

#[derive(Serialize)]
struct Sums<'a> {
    #[serde(flatten)]
    context: ResultContext,
    file: &'a str,
    /// Empty where the file is no batch at all.
    sha256: String,
    rows: u64,
    devices: u64,
    modules: u64,
    to_issue: u64,
    bad_rows: u64,
    /// Problems that are not listed, because there are too many.
    problems_not_listed: u64,
}

pub(super) fn run(args: &CheckArgs, printer: &Printer) -> Result<Exit, Failure> {
    let batch = args.batch.choice().resolve(".".as_ref())?;
    let service = args.service()?;
    let file = batch.path.to_string_lossy().into_owned();
    let mut problems = Problems { printer, is_begun: false, limit: ProblemLimit::default(), failed: None };
    let loaded = check(batch, args.issue.as_deref(), args.profile.name.clone(), service, &mut |problem| {
        problems.print(problem)
    })?;
    problems.end(&file, &loaded)?;
    if !service.is_hub() && loaded.modules > 0 {
        printer.note(format_args!(
            "{}: no enrolments, because a DPS has none: they are created when their devices have registered",
            counted(loaded.modules, "module")
        ));
    }
    Ok(if loaded.is_unusable || loaded.bad_rows > 0 { Exit::BadInput } else { Exit::Done })
}

/// Prints problems as they are found: there may be more than memory holds.
struct Problems<'a> {
    printer: &'a Printer,
    is_begun: bool,
    limit: ProblemLimit,
    /// The reason why a problem could not be printed.
    failed: Option<Failure>,
}

impl Problems<'_> {
    fn print(&mut self, problem: Problem) {
        if !self.limit.shows(&problem) {
            return;
        }
        let is_first = self.begin();
        match self.printer.format {
            Format::Text => self.printer.data(problem),
            Format::Json => {
                let comma = if is_first { " " } else { "," };
                match json_line(&problem) {
                    Ok(text) => self.printer.data(format_args!("   {comma}{text}")),
                    Err(failure) => self.failed = Some(failure),
                }
            }
            Format::Csv => {
                let severity = if problem.is_error() { "error" } else { "warning" };
                self.printer.csv_row([
                    problem.file,
                    problem.line.map(|line| line.to_string()).unwrap_or_default(),
                    problem.column.unwrap_or_default(),
                    problem.value.unwrap_or_default(),
                    severity.to_owned(),
                    problem.message,
                    problem.remedy,
                ]);
            }
        }
    }

    /// Prints what comes before the first problem, once; answers whether it was now.
    fn begin(&mut self) -> bool {
        if std::mem::replace(&mut self.is_begun, true) {
            return false;
        }
        match self.printer.format {
            Format::Text => {}
            Format::Json => self.printer.data("{\n  \"problems\": ["),
            Format::Csv => {
                let header = ["file", "line", "column", "value", "severity", "message", "remedy"];
                self.printer.csv_row(header);
            }
        }
        true
    }

    fn end(mut self, file: &str, loaded: &Loaded) -> Result<(), Failure> {
        self.begin();
        let (errors, warnings) = self.limit.left_out();
        match self.printer.format {
            Format::Text => {
                if let Some(left_out) = self.limit.summary() {
                    self.printer.data(format_args!("{}: {left_out}", ShownBare(file)));
                }
                self.printer.data(summary(file, loaded));
            }
            Format::Csv => {
                if let Some(left_out) = self.limit.summary() {
                    self.printer.note(format_args!("{}: {left_out}", ShownBare(file)));
                }
            }
            Format::Json => {
                let sums = Sums {
                    context: ResultContext::default().input(file.as_ref()),
                    file,
                    sha256: loaded.sha256.map(String::from).unwrap_or_default(),
                    rows: loaded.rows(),
                    devices: loaded.devices,
                    modules: loaded.modules,
                    to_issue: loaded.to_issue,
                    bad_rows: loaded.bad_rows,
                    problems_not_listed: errors + warnings,
                };
                self.printer.data(format_args!("  ],{}", members_of(&sums)?));
            }
        }
        self.failed.map_or(Ok(()), Err)
    }
}

fn summary(file: &str, loaded: &Loaded) -> String {
    let mut text = format!(
        "{}: {}: {}, {}",
        ShownBare(file),
        counted(loaded.rows(), "row"),
        counted(loaded.devices, "device"),
        counted(loaded.modules, "module")
    );
    if loaded.bad_rows > 0 {
        text.push_str(&format!(", {}", counted(loaded.bad_rows, "bad row")));
    }
    match loaded.errors {
        0 => text.push_str("; clean"),
        errors => text.push_str(&format!("; {}", counted(errors, "problem"))),
    }
    if loaded.to_issue > 0 {
        text.push_str(&format!(
            "\n{} neither thumbprint nor certificate: `--issue CA_DIR` issues one for each",
            match loaded.to_issue {
                1 => "1 row has".to_owned(),
                count => format!("{count} rows have"),
            }
        ));
    }
    text
}
