//! `test-pki`: certificates to test others with.

use hub_types::shown::ShownPath;
use std::fmt;

use cert_tool::{TestCase, write_test_pki};
use cli_support::exit::Exit;
use serde::Serialize;
use time::{OffsetDateTime, Time};

use super::args::TestPkiArgs;
use super::failure::Failure;
use super::output::Output;

pub(crate) fn run(args: &TestPkiArgs, output: &mut Output) -> Result<Exit, Failure> {
    let at = args.at.unwrap_or_else(|| OffsetDateTime::now_utc().replace_time(Time::MIDNIGHT));
    for case in write_test_pki(&args.dir, args.seed, at)? {
        output.record(&CaseRecord::new(&case));
    }
    output.note(&format!(
        "`{}` says what is expected of each; every private key there is public",
        ShownPath(&args.dir.join("expected.json"))
    ));
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct CaseRecord {
    name: String,
    accept: bool,
    identity: String,
    why: &'static str,
    rule: &'static str,
}

impl CaseRecord {
    fn new(case: &TestCase) -> Self {
        Self {
            name: case.name.clone(),
            accept: case.accept,
            identity: case.identity.clone(),
            why: case.why,
            rule: case.rule,
        }
    }
}

impl fmt::Display for CaseRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.accept { "good" } else { "bad" };
        write!(f, "{:28} {verdict:4} {}", self.name, self.why)
    }
}
