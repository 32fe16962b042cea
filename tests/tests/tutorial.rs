//! Every command of `docs/tutorial.md` is run, in order, and must print the documented output.

use std::fmt::Write;
use std::process::Command;

use anyhow::{Context, Result};
use e2e::{Station, repository};

#[test]
fn every_command_of_the_tutorial_prints_what_it_says() -> Result<()> {
    let path = repository().join("docs/tutorial.md");
    let tutorial = std::fs::read_to_string(&path)?;
    let station = Station::new()?;
    let transcripts: Vec<&str> =
        tutorial.split("```console\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(transcripts.len() >= 5, "the tutorial has its transcripts");
    for transcript in transcripts {
        let mut actual = String::new();
        for command in transcript.lines().filter_map(|line| line.strip_prefix("$ ")) {
            writeln!(actual, "$ {command}")?;
            actual.push_str(&run(&station, command).with_context(|| command.to_owned())?);
        }
        snapbox::Assert::new().eq(actual, transcript);
    }
    Ok(())
}

/// Runs a line in a shell and returns its complete output, in order.
fn run(station: &Station, line: &str) -> Result<String> {
    let provisioner = station.command("provisioner")?;
    let built =
        std::path::Path::new(provisioner.get_program()).parent().context("the binaries lie in a folder")?;
    let path = format!("{}:{}", built.to_string_lossy(), std::env::var("PATH")?);
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", &format!("exec 2>&1; {line}")])
        .current_dir(station.folder())
        .env("PATH", path)
        .env("FIXTURES", repository().join("fixtures"))
        .env_remove("IOTHUB_CONNECTION_STRING")
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    anyhow::ensure!(output.status.success(), "{}: {text}", output.status);
    Ok(text)
}
