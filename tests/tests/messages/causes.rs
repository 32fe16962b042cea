//! Messages with causes that libraries find: the failures are real, and their messages have no word
//! of a library.

use anyhow::{Result, ensure};
use e2e::{Ended, Station};

/// Words of libraries and of the operating system.
const WORDS: [&str; 8] = [
    "client error",
    "error sending request",
    "dns error",
    "tcp connect",
    "lookup address",
    "os error",
    "Error code",
    "malformed",
];

fn ensure_plain(ended: &Ended, says: &str) -> Result<()> {
    ensure!(ended.stderr.contains(says), "{says}: {}", ended.stderr);
    let found: Vec<_> = WORDS.iter().filter(|word| ended.stderr.contains(**word)).collect();
    ensure!(found.is_empty(), "{found:?} in {}", ended.stderr);
    Ok(())
}

#[test]
fn failures_of_connections_are_said_in_plain_words() -> Result<()> {
    let station = Station::new()?;
    let show = |host: &str| {
        let mut command = station.command("provisioner")?;
        let key = "SharedAccessKeyName=iothubowner;SharedAccessKey=AQEBAQEBAQEBAQEBAQEBAQ==";
        command.env("IOTHUB_CONNECTION_STRING", format!("HostName={host};{key}"));
        command.args(["device", "show", "--device-id", "a"]);
        Ended::of(command.output()?)?.expect_code(3)
    };
    ensure_plain(&show("localhost:1")?, "the connection was refused")?;
    // RFC 6761 §6.4: this name never has an address.
    ensure_plain(&show("hub.invalid")?, "no address was found for this name")
}

#[test]
fn failures_of_the_ledger_s_file_are_said_in_plain_words() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", "device_id,auth\na,sas\n")?;
    let apply = |ledger: &str| {
        station.run("provisioner", ["apply", "batch.csv", "--local", "hub", "--ledger", ledger])
    };
    let ended = apply("nowhere/line.ledger")?.expect_code(2)?;
    ensure_plain(&ended, "there is no folder for the ledger nowhere/line.ledger")?;
    ensure!(ended.stderr.contains("make the folder"), "{}", ended.stderr);
    apply("line.ledger")?.expect_code(0)?;
    let mut bytes = std::fs::read(station.path("line.ledger"))?;
    bytes.iter_mut().skip(4_096).for_each(|byte| *byte = 0x5A);
    std::fs::write(station.path("line.ledger"), bytes)?;
    ensure_plain(&apply("line.ledger")?.expect_code(2)?, "the ledger line.ledger is damaged: ")
}
