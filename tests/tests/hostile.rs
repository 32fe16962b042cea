//! Input that would fill the memory if it were read without bounds.

#![cfg(target_os = "linux")]

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use e2e::{Ended, Station};

/// Runs `check` on the output of a shell command, with half a gigabyte of address space.
fn check_in_little_memory(station: &Station, input: &str) -> Result<Ended> {
    let check = station.command("provisioner")?;
    let program = check.get_program().to_str().context("a path in UTF-8")?;
    let script = format!("ulimit -v 524288; ({input}) | {program} check --format csv /dev/stdin");
    let ended = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output()?;
    Ended::of(ended)
}

#[test]
fn a_line_of_a_gigabyte_and_a_million_mistakes_do_not_fill_the_memory() -> Result<()> {
    let station = Station::new()?;
    let line = "printf 'device_id\\na\\n'; head -c 1073741824 /dev/zero | tr '\\0' x; printf '\\nb\\n'";
    let ended = check_in_little_memory(&station, line)?.expect_code(2)?;
    assert!(ended.stdout.contains(",3,,,error,the line is longer than 1024 KiB,"), "{}", ended.stdout);
    assert_eq!(ended.stdout.lines().count(), 2, "{}", ended.stdout);

    let mistakes = "echo device_id,status; yes 'a,of course' | head -n 300000";
    let ended = check_in_little_memory(&station, mistakes)?.expect_code(2)?;
    // Each has a wrong status, and all but the first an id that was there: the first thousand are listed.
    assert_eq!(ended.stdout.lines().count(), 1_001);
    assert!(ended.stderr.contains("598"), "{}", ended.stderr);
    Ok(())
}
