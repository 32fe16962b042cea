//! The commands of a page: our programs, scripts and cargo.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use regex::Regex;

use crate::page::{Code, Form, Page};
use crate::programs::{Programs, Verb};
use crate::tree::Tree;

/// The faults of all commands of a page.
pub(crate) fn faults(page: &Page, programs: &Programs, tree: &Tree) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let (mut foreign, mut scripts, mut alone) = (BTreeSet::new(), String::new(), Vec::new());
    for code in &page.codes {
        for (line, command) in commands(code)? {
            let words: Vec<&str> = command.split_whitespace().collect();
            match find(&words, programs) {
                Some(Command::Ours(verb, rest)) => {
                    faults.extend(fault_of_program(&[verb], rest).map(|fault| page.fault(line, &fault)));
                }
                Some(Command::Verb(verbs, rest)) if code.form == Form::Inline => {
                    faults.extend(fault_of_program(&verbs, rest).map(|fault| page.fault(line, &fault)));
                }
                Some(Command::Script(script, rest)) => {
                    scripts += &tree.text(Path::new(script))?.unwrap_or_default();
                    faults.extend(fault_of_script(script, rest, tree)?.map(|fault| page.fault(line, &fault)));
                }
                Some(Command::Cargo(rest)) => {
                    faults.extend(fault_of_cargo(rest, tree)?.map(|fault| page.fault(line, &fault)));
                }
                _ if words.first().is_some_and(|word| word.starts_with('-')) => {
                    alone.extend(words.iter().filter_map(|word| Some((line, option(word)?.to_owned()))));
                }
                _ => foreign.extend(words.iter().filter_map(|word| Some(option(word)?.to_owned()))),
            }
        }
    }
    // An option without a command is one of ours, or of a program or script that the page calls.
    let is_known = |option: &str| {
        let is_ours = programs.all().any(|verb| verb.has_below(option));
        is_ours || foreign.contains(option) || scripts.contains(option)
    };
    alone.retain(|(_, option)| !is_known(option));
    faults.extend(alone.iter().map(|(line, option)| page.fault(*line, &format!("no option {option}"))));
    Ok(faults)
}

/// A command that can be checked, with the words behind its name.
enum Command<'p, 'w> {
    Ours(&'p Verb, &'w [&'w str]),
    /// A verb without its program: of every program that has it.
    Verb(Vec<&'p Verb>, &'w [&'w str]),
    Script(&'w str, &'w [&'w str]),
    Cargo(&'w [&'w str]),
}

/// Finds the program that the words call: the first that is known, because programs such as `time`
/// and `cargo run` call others.
fn find<'p, 'w>(words: &'w [&'w str], programs: &'p Programs) -> Option<Command<'p, 'w>> {
    for (at, word) in words.iter().enumerate() {
        let (name, rest) = (word.rsplit('/').next()?, words.get(at + 1..)?);
        if let Some(program) = programs.get(name) {
            return Some(Command::Ours(program, rest.strip_prefix(&["--"]).unwrap_or(rest)));
        }
        if word.starts_with("scripts/") {
            return Some(Command::Script(word, rest));
        }
        if name == "cargo" && rest.first() != Some(&"run") {
            return Some(Command::Cargo(rest));
        }
    }
    let first = alternatives(words.first()?).next()?;
    let having: Vec<&Verb> = programs.all().filter(|program| program.verb(first).is_some()).collect();
    (!having.is_empty()).then_some(Command::Verb(having, words))
}

/// The fault of a call of one of these programs: a verb or an option that it does not have.
fn fault_of_program(programs: &[&Verb], words: &[&str]) -> Option<String> {
    let mut verbs = programs.to_vec();
    let mut words = words.iter().peekable();
    while verbs.iter().any(|verb| verb.is_group()) {
        let Some(word) = words.next_if(|word| is_name(word)) else { break };
        let mut below = Vec::new();
        for name in alternatives(word) {
            let named: Vec<&Verb> = verbs.iter().filter_map(|verb| verb.verb(name)).collect();
            if named.is_empty() {
                return Some(format!("no verb {name}"));
            }
            below.extend(named);
        }
        verbs = below;
    }
    let has = |option: &str| match verbs.iter().any(|verb| verb.is_group()) {
        // The verb is left open, as in `provisioner --host HOST`.
        true => verbs.iter().any(|verb| verb.has_below(option)),
        false => verbs.iter().any(|verb| verb.has(option)),
    };
    words
        .filter_map(|word| option(word))
        .find(|option| !has(option))
        .map(|option| format!("no option {option}"))
}

/// The fault of a call of a script: an option that its text does not have.
fn fault_of_script(script: &str, words: &[&str], tree: &Tree) -> Result<Option<String>> {
    let Some(text) = tree.text(Path::new(script))? else { return Ok(None) }; // a fault of the path
    let unknown = words.iter().filter_map(|word| option(word)).find(|option| !text.contains(option));
    Ok(unknown.map(|option| format!("{script} has no option {option}")))
}

/// The fault of a call of cargo: a package, a target or a test that does not exist.
fn fault_of_cargo(words: &[&str], tree: &Tree) -> Result<Option<String>> {
    let value = |option: &str| words.iter().skip_while(|word| **word != option).nth(1);
    let Some(package) = value("-p") else { return Ok(None) };
    let Some(folder) = tree.package(package)? else { return Ok(Some(format!("no package {package}"))) };
    for (option, targets) in [("--test", "tests"), ("--bench", "benches")] {
        let Some(target) = value(option) else { continue };
        let (file, module) =
            (folder.join(targets).join(target).with_extension("rs"), folder.join(targets).join(target));
        let sources: Vec<&Path> =
            tree.files().filter(|source| *source == file || source.starts_with(&module)).collect();
        if sources.is_empty() {
            return Ok(Some(format!("no target {target}")));
        }
        let filters =
            words.iter().skip_while(|word| *word != target).skip(1).take_while(|word| is_name(word));
        for filter in filters {
            if !has_test(filter, &sources, tree)? {
                return Ok(Some(format!("no test {filter}")));
            }
        }
    }
    Ok(None)
}

/// Returns true if a function or a file of the sources has this in its name.
fn has_test(filter: &str, sources: &[&Path], tree: &Tree) -> Result<bool> {
    for source in sources {
        let named = source.file_stem().is_some_and(|stem| stem.to_string_lossy().contains(filter));
        if named || functions(&tree.text(source)?.unwrap_or_default()).any(|name| name.contains(filter)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn functions(source: &str) -> impl Iterator<Item = &str> {
    source.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next())
}

/// The option that a word names, without its value.
fn option(word: &str) -> Option<&str> {
    let word = word.trim_matches(|letter| "[](),;:.\"".contains(letter));
    let name = word.split(['=', '|', '[']).next()?;
    (name.len() > 2 && name.starts_with("--")).then_some(name)
}

/// Returns true for a word that may be a verb or a test, and no placeholder or file.
fn is_name(word: &str) -> bool {
    word.starts_with(|letter: char| letter.is_ascii_lowercase())
        && word
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_|:".contains(letter))
}

/// The names of a word such as `create|show`.
fn alternatives(word: &str) -> impl Iterator<Item = &str> {
    word.split('|')
}

/// The simple commands of code, with their lines.
fn commands(code: &Code) -> Result<Vec<(usize, String)>> {
    let mut commands = Vec::new();
    let data = Regex::new("'[^']*'")?;
    let between = Regex::new(r"\$\(|<\(|\)|;|&&|\|\|| \| |^! | do | then ")?;
    for (line, text) in shell_lines(code)? {
        // Values in single quotes are data; those in double quotes may call commands.
        let text = data.replace_all(&text, "'…'").replace('"', " ");
        commands.extend(between.split(&text).map(|command| (line, command.to_owned())));
    }
    Ok(commands)
}

/// The lines of code that are commands, with lines joined that end in a backslash.
fn shell_lines(code: &Code) -> Result<Vec<(usize, String)>> {
    if code.form == Form::Inline {
        return Ok(vec![(code.line, code.text.replace('\n', " "))]);
    }
    let comment = Regex::new(r"(^|\s)#.*$")?;
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in code.text.lines().enumerate() {
        let text = match code.form {
            Form::Shell => Some(line),
            Form::Console if goes_on => Some(line),
            Form::Console => line.strip_prefix("$ "),
            Form::Inline | Form::Other => None,
        };
        let Some(text) = text else { continue };
        let text = comment.replace(text, "");
        let part = text.strip_suffix('\\').unwrap_or(&text);
        match lines.last_mut().filter(|_| goes_on) {
            Some((_, joined)) => joined.push_str(part),
            None => lines.push((code.line + number, part.to_owned())),
        }
        goes_on = text.ends_with('\\');
    }
    Ok(lines)
}
