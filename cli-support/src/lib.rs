//! The code that the three command lines share.
//!
//! | noun | module |
//! |---|---|
//! | errors with their causes | [`causes`] |
//! | options that choose one of several values | [`choices!`] |
//! | exit codes | [`exit`] |
//! | protection of the memory of a process with keys | [`memory`] |
//! | output files, which appear when they are complete | [`new_file`] |
//! | panics, which end a program with the exit code of a bug | [`mod@panic`] |
//! | bars and lines that show progress | [`progress`] |
//! | secrets from the environment and the terminal, rights on files with secrets | [`secrets`] |
//! | lines for people, errors and remedies, log lines | [`stderr`] |
//! | data on the standard output, which a terminal only shows | [`terminal`] |
//! | text files, in the encodings that editors and shells write | [`text`] |
//! | command lines, and errors about their arguments | [`usage`] |
//! | values of the wrong form in JSON and TOML, told in the terms of these | [`wrong_form`] |

pub mod causes;
mod choices;
pub mod counted;
pub mod exit;
pub mod memory;
pub mod new_file;
pub mod panic;
pub mod progress;
pub mod secrets;
pub mod stderr;
pub mod terminal;
pub mod text;
pub mod usage;
pub mod wrong_form;
