//! Text of a batch is never executed as commands by a terminal or a spreadsheet.

use anyhow::{Result, ensure};
use e2e::{Station, Terminal};

/// Returns true if the text has control characters that a terminal interprets, other than line
/// ends.
fn obeyed(text: &str) -> bool {
    text.chars().any(|c| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}'))
}

#[test]
fn control_characters_of_cells_headers_and_names_are_shown_and_not_sent() -> Result<()> {
    let station = Station::new()?;
    let batches = [
        "device_id,tags.note\nd\u{1b}[31m1,x\n",
        "device_id,tags.\u{1b}]0;title\u{7}\nd1,x\n",
        "device_id,status,status_reason\nd1,disabled,a\u{9b}2Jb\u{202e}\nd1,enabled,\n",
        "device_id,certificate\nd1,\u{1b}c.pem\n",
    ];
    for (number, batch) in batches.iter().enumerate() {
        let name = format!("b\u{1b}[2J{number}.csv");
        station.write(&name, batch)?;
        for args in [["check", &name], ["plan", &name], ["apply", &name]] {
            let ended = station.run("provisioner", args)?;
            ensure!(!obeyed(&ended.stdout) && !obeyed(&ended.stderr), "{args:?}: {ended:?}");
        }
        let ended = station.run("cert-tool", ["sign", "--ca", "none", "--out", "out", &name])?;
        ensure!(!obeyed(&ended.stdout) && !obeyed(&ended.stderr), "{ended:?}");
    }
    Ok(())
}

/// A line end in the name of a file begins no line of a message or of data for people.
#[test]
fn names_of_files_forge_no_line() -> Result<()> {
    let station = Station::new()?;
    let hostile = |name: &str| format!("{name}\nerror: forged");
    let (batch, pem, ca) = (hostile("b"), hostile("c"), hostile("ca"));
    station.write(&batch, "device_id,certificate\nd1,\"x\nerror: forged\"\n")?;
    station.write("good.csv", "device_id,auth\nd1,sas\n")?;
    station.run("cert-tool", ["ca", "init", &ca])?.expect_code(0)?;
    std::fs::copy(station.path(&format!("{ca}/root.pem")), station.path(&pem))?;
    let (plan, missing) = (hostile("plan"), hostile("missing"));
    let issue = ["issue", "--ca", &ca, "--from", "good.csv", "--out", "out"];
    for (program, args) in [
        ("provisioner", &["check", &batch][..]),
        ("provisioner", &["check", &missing]),
        ("provisioner", &["apply", &missing]),
        ("provisioner", &["plan", &batch]),
        ("provisioner", &["plan", "good.csv", "--output", &plan]),
        ("provisioner", &["apply", &plan]),
        ("provisioner", &["apply", &batch]),
        ("provisioner", &["runs", "--ledger", &missing]),
        ("provisioner", &["audit", "check", &missing]),
        ("cert-tool", &issue),
        ("cert-tool", &["ca", "show", &ca]),
        ("cert-tool", &["ca", "crl", &ca, "--out", &hostile("crl")]),
        ("cert-tool", &["list", "--ca", &ca]),
        ("cert-tool", &["show", &pem]),
        ("cert-tool", &["show", &missing]),
        ("cert-tool", &["thumbprint", &pem]),
        ("cert-tool", &["verify", &pem, "--ca", &pem]),
        ("cert-tool", &["convert", &pem, "--to", "der", "--out", &hostile("der")]),
        ("cert-tool", &["csr", "--device-id", "d1", "--key-out", &hostile("key"), "--out", &hostile("csr")]),
        ("cert-tool", &["sign", "--ca", &ca, "--out", &hostile("signed"), &pem]),
        ("local-hub", &["export", "--data", "none", "--out", &missing]),
        ("local-hub", &["connection-string", "--data", &missing]),
        ("local-hub", &["serve", "--data", "hub", "--faults", &missing]),
    ] {
        let ended = station.run(program, args)?;
        let lines = ended.stdout.lines().chain(ended.stderr.lines());
        ensure!(
            !lines.clone().any(|line| line.starts_with("error: forged")),
            "{program} {args:?}: {ended:?}"
        );
    }
    Ok(())
}

#[test]
fn wrong_arguments_are_shown_on_one_line() -> Result<()> {
    let station = Station::new()?;
    let hostile = "x\u{1b}[2J\u{9b}31m\u{202e}\nerror: forged";
    let option = format!("--{hostile}");
    for program in ["provisioner", "cert-tool", "local-hub"] {
        for args in [&[hostile][..], &[&option], &["help", hostile]] {
            let ended = station.run(program, args)?.expect_code(2)?;
            ensure!(!obeyed(&ended.stderr) && ended.stderr.contains("x<U+001B>"), "{program}: {ended:?}");
            let is_forged = ended.stderr.lines().any(|line| line.starts_with("error: forged"));
            ensure!(!is_forged && ended.stdout.is_empty(), "{program}: {ended:?}");
        }
    }
    Ok(())
}

#[test]
fn data_for_programs_is_exact_in_a_file_and_shown_on_a_terminal() -> Result<()> {
    let station = Station::new()?;
    let name = "b\u{1b}[2J\u{9b}31m\u{202e}.csv";
    station.write(name, "device_id,auth\na,sas\n")?;
    station.run("provisioner", ["apply", name])?.expect_code(0)?;
    station.run("cert-tool", ["ca", "init", "ca\u{1b}c"])?.expect_code(0)?;
    for (program, args, exact) in [
        ("provisioner", &["runs", "--format", "csv"][..], name),
        ("provisioner", &["runs", "--format", "json"], "\u{9b}31m\u{202e}"),
        ("cert-tool", &["ca", "show", "ca\u{1b}c", "--format", "csv"], "ca\u{1b}c"),
    ] {
        let piped = station.run(program, args)?.expect_code(0)?;
        ensure!(piped.stdout.contains(exact), "{args:?}: {piped:?}");
        let (code, screen) = Terminal::start(station.command(program)?.args(args))?.end()?;
        let text = screen.replace("\r\n", "\n");
        ensure!(code == 0 && text.contains("<U+") && !obeyed(&text), "{args:?}: {screen:?}");
    }
    Ok(())
}

#[test]
fn formulas_in_cells_are_made_harmless_on_request() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", "device_id,auth\n=1+1,sas\n@a,sas\n-b,sas\nplain,sas\n")?;
    station.run("provisioner", ["apply", "batch.csv"])?;
    let cells = |args: &[&str]| -> Result<String> { Ok(station.run("provisioner", args)?.stdout) };
    let as_they_are = cells(&["report", "--format", "csv"])?;
    ensure!(as_they_are.contains(",=1+1,") && as_they_are.contains(",@a,"), "{as_they_are}");
    let safe = cells(&["report", "--format", "csv", "--spreadsheet-safe"])?;
    ensure!(safe.contains(",'=1+1,") && safe.contains(",'@a,") && safe.contains(",'-b,"), "{safe}");
    ensure!(safe.contains(",plain,"), "{safe}");
    Ok(())
}
