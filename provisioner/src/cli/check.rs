//! `check`: is the batch clean?

use serde::Serialize;

use super::args::{CheckArgs, Format};
use super::failure::{Exit, Failure};
use super::loading::counted;
use super::printer::Printer;
use crate::batch::{LoadOptions, Loaded, MissingCertificates, ProblemsOnly, count_errors, load};

#[derive(Serialize)]
struct CheckReport<'a> {
    file: String,
    sha256: &'a str,
    rows: u64,
    devices: u64,
    modules: u64,
    to_issue: u64,
    bad_rows: u64,
    problems: &'a [batch_file::Problem],
}

pub(super) fn run(args: &CheckArgs, printer: &Printer) -> Result<Exit, Failure> {
    let options = LoadOptions { read: args.batch.read_options(), certificates: MissingCertificates::Issued };
    let mut sink = ProblemsOnly::default();
    let loaded = load(&args.batch.file, &options, &mut sink)?;
    let file = args.batch.file.display().to_string();
    match printer.format {
        Format::Text => {
            sink.problems.iter().for_each(|problem| printer.data(problem));
            printer.data(summary(&file, &loaded, &sink.problems));
        }
        Format::Json => printer.json(&CheckReport {
            file,
            sha256: &loaded.sha256,
            rows: loaded.rows(),
            devices: loaded.devices,
            modules: loaded.modules,
            to_issue: loaded.to_issue,
            bad_rows: loaded.bad_rows,
            problems: &sink.problems,
        }),
        Format::Csv => printer.csv(
            ["file", "line", "column", "value", "severity", "message", "remedy"],
            sink.problems.into_iter().map(|problem| {
                let severity = if problem.is_error() { "error" } else { "warning" };
                [
                    problem.file,
                    problem.line.map(|line| line.to_string()).unwrap_or_default(),
                    problem.column.unwrap_or_default(),
                    problem.value.unwrap_or_default(),
                    severity.to_owned(),
                    problem.message,
                    problem.remedy,
                ]
            }),
        ),
    }
    Ok(if loaded.is_unusable || loaded.bad_rows > 0 { Exit::BadInput } else { Exit::Done })
}

fn summary(file: &str, loaded: &Loaded, problems: &[batch_file::Problem]) -> String {
    let mut text = format!(
        "{file}: {}: {}, {}",
        counted(loaded.rows(), "row"),
        counted(loaded.devices, "device"),
        counted(loaded.modules, "module")
    );
    if loaded.bad_rows > 0 {
        text.push_str(&format!(", {}", counted(loaded.bad_rows, "bad row")));
    }
    match count_errors(problems) {
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
