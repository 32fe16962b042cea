//! The verbs and options of our programs, as `--help` prints them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use e2e::Station;
use regex::Regex;

/// The programs with all their verbs.
pub(crate) struct Programs(BTreeMap<&'static str, Verb>);

/// A verb of a program, or the program itself.
#[derive(Debug, Default)]
pub(crate) struct Verb {
    options: BTreeSet<String>,
    verbs: BTreeMap<String, Self>,
}

const NAMES: [&str; 3] = ["cert-tool", "local-hub", "provisioner"];

impl Programs {
    pub(crate) fn read() -> Result<Self> {
        let station = Station::new()?;
        let mut programs = BTreeMap::new();
        for name in NAMES {
            programs.insert(name, Verb::read(&station, &[name])?);
        }
        Ok(Self(programs))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Verb> {
        self.0.get(name)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Verb> {
        self.0.values()
    }
}

impl Verb {
    fn read(station: &Station, words: &[&str]) -> Result<Self> {
        let (program, verbs) = words.split_first().context("a program")?;
        let help = station.run(program, verbs.iter().chain(&["--help"]))?.expect_code(0)?.stdout;
        let mut verb = Self { options: options(&help)?, verbs: BTreeMap::new() };
        ensure!(verb.options.contains("--help"), "{words:?} has no options");
        for name in verbs_of(&help).filter(|name| *name != "help") {
            verb.verbs.insert(name.to_owned(), Self::read(station, &[words, &[name]].concat())?);
        }
        Ok(verb)
    }

    pub(crate) fn verb(&self, name: &str) -> Option<&Self> {
        self.verbs.get(name)
    }

    /// Returns true for a verb that does nothing without a verb below it.
    pub(crate) fn is_group(&self) -> bool {
        !self.verbs.is_empty()
    }

    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.contains(option)
    }

    /// Returns true if this verb or a verb below it has the option.
    pub(crate) fn has_below(&self, option: &str) -> bool {
        self.has(option) || self.verbs.values().any(|verb| verb.has_below(option))
    }
}

/// The names under the heading `Commands:`.
fn verbs_of(help: &str) -> impl Iterator<Item = &str> {
    let list = help.split_once("\nCommands:\n").map_or("", |(_, rest)| rest);
    let lines = list.lines().take_while(|line| !line.is_empty());
    lines.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?.split(' ').next())
}

/// The options that begin a line before the examples.
fn options(help: &str) -> Result<BTreeSet<String>> {
    let listed = help.split("\nExamples:").next().unwrap_or_default();
    let option = Regex::new(r"(?m)^  (?:-\w, |    )(--[a-z][a-z0-9-]*)")?;
    Ok(option.captures_iter(listed).filter_map(|found| Some(found.get(1)?.as_str().to_owned())).collect())
}
