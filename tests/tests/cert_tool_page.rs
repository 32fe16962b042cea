//! Every command of `docs/cert-tool.md` is run, in order, in a folder that is empty at first. The inputs that others
//! make stand in a table here.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use e2e::{Station, repository};

/// The beginning of a command, and what makes its inputs.
const INPUTS: [(&str, &str); 8] = [
    (
        "cert-tool ca sign partner.csr",
        "openssl req -new -newkey rsa:2048 -nodes -keyout partner.key -subj /O=Partner/CN=Partner -out partner.csr",
    ),
    (
        "cert-tool ca sign azure.csr",
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:secp384r1 -nodes -keyout azure.key -subj /CN=Azure \
         -out azure.csr",
    ),
    (
        "cert-tool issue --ca pki --from batch.csv --out issued  ",
        r"printf 'device_id\ndevice01\ndevice02\n' > batch.csv",
    ),
    ("cert-tool pfx issued --device-id", "umask 077; echo secret > pfx.password"),
    (
        "cert-tool issue --ca pki --from gateways.csv",
        r"cp profile.toml pki/profile.toml
          printf 'device_id,x_line,x_serial,x_ip\ngw-11,7,S-1,192.0.2.11\n' > gateways.csv",
    ),
    (
        "cert-tool sign incoming",
        r"mkdir incoming
          cert-tool csr --device-id device04 --key-out four.key --out incoming/device04.csr
          cert-tool csr --device-id device05 --key-out five.key --out five.csr
          printf 'device_id,csr\ndevice04,\ndevice05,five.csr\n' > batch.csv",
    ),
    ("cert-tool expiring", "cert-tool issue --ca pki --device-id device09 --days 30 --out soon"),
    ("cert-tool completions", "mkdir -p ~/.local/share/bash-completion/completions"),
];

/// Commands for a server that is not there, and with values that the reader chooses.
const LEFT_OUT: [&str; 2] = ["openssl s_client", "cert-tool ca policy pki --subjects REGEX"];

/// Values that the reader has, and a count that takes less time.
const VALUES: [(&str, &str); 2] = [
    ("--count 1000000", "--count 100"),
    (
        "--thumbprint HEX",
        "--thumbprint $(openssl x509 -in device01/cert.pem -outform DER | sha256sum | cut -c1-64)",
    ),
];

#[test]
fn every_command_of_the_page_about_cert_tool_succeeds() -> Result<()> {
    let page = std::fs::read_to_string(repository().join("docs/cert-tool.md"))?;
    let station = Station::new()?;
    std::fs::create_dir(station.folder().join("home"))?;
    let mut commands = 0;
    let mut used = BTreeSet::new();
    for (language, block) in blocks(&page) {
        if language == "toml" {
            std::fs::write(station.folder().join("profile.toml"), block)?;
            continue;
        }
        for line in block.replace("\\\n", "").lines() {
            for (_, input) in INPUTS.iter().filter(|(command, _)| line.starts_with(command)) {
                run(&station, input)?;
                used.insert(*input);
            }
            if let Some(left_out) = LEFT_OUT.iter().find(|it| line.starts_with(**it)) {
                used.insert(left_out);
                continue;
            }
            let found = VALUES.iter().filter(|(name, _)| line.contains(name));
            used.extend(found.map(|(name, _)| *name));
            run(
                &station,
                &VALUES.iter().fold(line.to_owned(), |line, (name, value)| line.replace(name, value)),
            )?;
            commands += 1;
        }
    }
    ensure!(commands > 50, "only {commands} commands were found");
    assert_eq!(used.len(), INPUTS.len() + LEFT_OUT.len() + VALUES.len(), "each entry of the tables is used");
    Ok(())
}

/// The blocks of commands and of settings, in their order.
fn blocks(page: &str) -> impl Iterator<Item = (&str, &str)> {
    let fenced = page.split("\n```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    fenced.filter(|(language, _)| ["sh", "toml"].contains(language))
}

fn run(station: &Station, line: &str) -> Result<()> {
    let output = shell(station, line)?;
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{line}: {}: {text}", output.status);
    Ok(())
}

fn shell(station: &Station, line: &str) -> Result<Output> {
    let program = station.command("cert-tool")?;
    let built =
        std::path::Path::new(program.get_program()).parent().context("the binaries lie in a folder")?;
    let path = format!("{}:{}", built.to_string_lossy(), std::env::var("PATH")?);
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-ec", line]).current_dir(station.folder()).stdin(Stdio::null());
    command.env("PATH", path).env("HOME", station.folder().join("home"));
    Ok(command.env("CERT_TOOL_PASSPHRASE", "open sesame").output()?)
}
