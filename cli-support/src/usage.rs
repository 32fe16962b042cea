//! Command lines: their arguments, or the answer to wrong ones.

use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, Error};
use hub_types::shown::{ShownBare, ShownLines};

use crate::exit::Exit;
use crate::stderr;

/// Parses the arguments of this process. If there is nothing to run, the help, the version or an error was
/// printed, and the exit code is returned.
pub fn parse<C: Parser>() -> Result<C, ExitCode> {
    C::try_parse().map_err(|error| {
        if !error.use_stderr() {
            // Nobody is left to be told that the terminal is gone.
            let _ = error.print();
            return Exit::Done.into();
        }
        stderr::line(message(error).trim_end());
        Exit::BadInput.into()
    })
}

/// The message of a usage error, in which each argument is on one line and has no character that a terminal
/// obeys.
fn message(mut error: Error) -> String {
    let foreign: Vec<(ContextKind, ContextValue)> =
        error.context().filter_map(|(kind, value)| Some((kind, shown(kind, value)?))).collect();
    for (kind, value) in foreign {
        error.insert(kind, value);
    }
    ShownLines(&error.render().to_string()).to_string()
}

/// The shown form of a part of an error, if arguments can be in it.
fn shown(kind: ContextKind, value: &ContextValue) -> Option<ContextValue> {
    let text = |text: &str| ShownBare(text).to_string();
    Some(match value {
        // It has lines of its own, and no argument.
        _ if kind == ContextKind::Usage => return None,
        ContextValue::String(value) => ContextValue::String(text(value)),
        ContextValue::Strings(values) => {
            ContextValue::Strings(values.iter().map(|value| text(value)).collect())
        }
        ContextValue::StyledStrs(values) => {
            ContextValue::StyledStrs(values.iter().map(|value| text(&value.to_string()).into()).collect())
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command line with all kinds of arguments.
    #[derive(Debug, Parser)]
    #[command(no_binary_name = true)]
    struct Words {
        #[arg(long, value_parser = ["one", "two"])]
        choice: Option<String>,
        #[arg(long)]
        number: Option<u32>,
    }

    #[test]
    fn a_wrong_argument_is_shown_on_one_line() {
        const HOSTILE: &str = "x\u{1b}[2J\r\n\u{9b}31merror: forged\u{2028}";
        let option = format!("--{HOSTILE}");
        let choice = format!("--choice={HOSTILE}");
        let number = format!("--number={HOSTILE}");
        for words in [&[HOSTILE][..], &[&option], &[&choice], &[&number]] {
            let told = message(Words::try_parse_from(words).unwrap_err());
            assert!(told.contains("x<U+001B>[2J<U+000D><U+000A><U+009B>31merror: forged<U+2028>"), "{told}");
            assert!(!told.chars().any(|c| c != '\n' && c.is_control()), "{told}");
            assert!(
                !told.lines().any(|line| line.contains("forged") && !line.contains("x<U+001B>")),
                "{told}"
            );
        }
    }
}
