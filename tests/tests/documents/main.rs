//! Every path, link and command that a Markdown page of the repository names exists.

use std::path::Path;

use anyhow::{Result, ensure};
use e2e::repository;
use page::Page;
use programs::Programs;
use tree::Tree;

mod commands;
mod page;
mod paths;
mod programs;
mod tree;

/// What pages are compared with.
struct Repository {
    tree: Tree,
    programs: Programs,
}

impl Repository {
    fn read() -> Result<Self> {
        Ok(Self { tree: Tree::read(repository())?, programs: Programs::read()? })
    }

    fn pages(&self) -> Result<Vec<Page>> {
        let names = self.tree.files().filter(|file| file.extension().is_some_and(|end| end == "md"));
        names.map(|name| Ok(Page::new(name, &std::fs::read_to_string(repository().join(name))?))).collect()
    }

    /// The faults of a page, each with its place.
    fn faults(&self, page: &Page, pages: &[Page]) -> Result<Vec<String>> {
        let mut faults = paths::faults(page, &self.tree);
        faults.extend(paths::dead_links(page, pages, &self.tree));
        faults.extend(commands::faults(page, &self.programs, &self.tree)?);
        Ok(faults)
    }
}

#[test]
fn everything_that_pages_name_exists() -> Result<()> {
    let repository = Repository::read()?;
    let pages = repository.pages()?;
    ensure!(pages.len() > 70, "only {} pages were found", pages.len());
    let mut faults = Vec::new();
    for page in &pages {
        faults.extend(repository.faults(page, &pages)?);
    }
    ensure!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

#[test]
fn names_that_do_not_exist_are_found() -> Result<()> {
    let wrong = [
        ("`docs/tutorial.txt`", "docs/tutorial.txt"),
        ("`desires.rs`", "desires.rs"),
        ("`no-such-folder/`", "no-such-folder/"),
        ("[the tutorial](docs/tutorials.md)", "docs/tutorials.md"),
        ("[a heading](docs/style.md#eleven-rules)", "#eleven-rules"),
        ("[a heading](#eleven-rules)", "#eleven-rules"),
        ("`scripts/tests`", "scripts/tests"),
        ("`scripts/measure-language --maximum 2`", "--maximum"),
        ("`provisioner aply batch.csv`", "aply"),
        ("`cert-tool ca init|imports`", "imports"),
        ("`provisioner apply batch.csv\n--isue pki`", "--isue"),
        ("`apply --isue`", "--isue"),
        ("`--isue`", "--isue"),
        ("`cargo test -p tests`", "tests"),
        ("`cargo test -p local-hub --test its`", "its"),
        ("`cargo test -p local-hub --test it no_such_test`", "no_such_test"),
        ("```sh\nprovisioner verify a.csv \\\n  --conect all | cat\n```", "--conect"),
        ("```sh\nfor i in 1 2; do local-hub server; done\n```", "server"),
        ("```console\n$ az login --login \"$(local-hub connexion)\"\nprovisioner noise\n```", "connexion"),
    ];
    let repository = Repository::read()?;
    let pages = repository.pages()?;
    for (text, named) in wrong {
        let faults = repository.faults(&Page::new(Path::new("PAGE.md"), text), &pages)?;
        ensure!(
            faults.len() == 1 && faults.iter().all(|fault| fault.contains(named)),
            "{text} has one fault, {named}: {faults:?}"
        );
    }
    Ok(())
}

#[test]
fn names_that_exist_are_no_faults() -> Result<()> {
    let right = [
        "`docs/tutorial.md`, `documents/main.rs`, `documents/` and [rules](docs/style.md#ten-rules)",
        "`issued/devices/pump-1/cert.pem`, `provisioner.toml` and `/etc/hosts` are files of users",
        "`provisioner device|module|twin show --device-id ID` and `twin show --format json`",
        "`cargo run --bin provisioner -- apply fixtures/batches/pump-line.csv --issue pki`",
        "`STORM_DEVICES=6667 cargo test -p e2e --test weather a_storm`",
        "```sh\nprovisioner verify a.csv --connect all   # or: --conect\n```",
        "```console\n$ local-hub serve\nprovisioner noise --isue\n```",
        "`scripts/bench-check` with `--distinct`",
        "`docker run --ulimit nofile=65536` has `--ulimit`",
    ];
    let repository = Repository::read()?;
    let pages = repository.pages()?;
    for text in right {
        let faults = repository.faults(&Page::new(Path::new("PAGE.md"), text), &pages)?;
        ensure!(faults.is_empty(), "{text}: {faults:?}");
    }
    Ok(())
}
