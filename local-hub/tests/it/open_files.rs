//! The limit of open files: raised as far as possible, with a warning if that is too low.
#![cfg(target_os = "linux")]

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use crate::support::Process;

/// Starts the hub under a limit, in the form of `ulimit`. Its log is in the folder.
fn limited(limit: &str, folder: &Path) -> Process {
    let mut shell = Command::new("sh");
    let log = folder.join("log").to_string_lossy().into_owned();
    shell.args(["-c", &format!("ulimit {limit}; exec \"$0\" \"$@\" 2>'{log}'")]);
    Process::serve_through(shell, &folder.join("data"))
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_low_limit_that_may_be_raised_is_raised() {
    let folder = tempfile::tempdir().unwrap();
    let process = limited("-Sn 60", folder.path());
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.id())).unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let [soft, hard] = [0, 1].map(|column| files.split_whitespace().nth(column).unwrap());
    assert_eq!(soft, hard);
    // More connections than the limit had allowed, and one more that is answered.
    let held: Vec<_> = (0..100).map(|_| TcpStream::connect(process.address()).unwrap()).collect();
    process.client.get("/statistics/devices").await.ok();
    drop(held);
}

#[test]
fn one_that_may_not_be_raised_far_enough_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let process = limited("-n 500", folder.path());
    assert!(process.ready_line.contains("ready"));
    let log = log(folder.path());
    assert!(log.contains("may open 500 files") && log.contains("LimitNOFILE"), "{log}");
}
