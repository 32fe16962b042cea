//! [`Exit`]: the exit codes, as scripts know them.

use std::process::{self, ExitCode};

/// The exit code of a command.
///
/// The three programs promise these codes in `--help` and in the README. `clap` ends a program with
/// the code of [`Exit::BadInput`] after a usage error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Finished, and everything is as asked.
    Done = 0,
    /// Finished, but some rows or files failed, conflict or differ.
    SomeFailed = 1,
    /// Bad usage or bad input; nothing was done.
    BadInput = 2,
    /// A hub or a CA refused or could not be reached, or a required file or address could not be
    /// used.
    Refused = 3,
    /// Interrupted; the same command continues.
    Interrupted = 4,
    /// A bug of the program.
    Bug = 70,
}

impl Exit {
    /// Returns the exit of a command that has finished: [`Exit::Done`] if everything is as asked.
    pub fn finished(all_well: bool) -> Self {
        if all_well { Self::Done } else { Self::SomeFailed }
    }

    /// Ends the process at once.
    pub fn end_process(self) -> ! {
        process::exit(i32::from(self as u8))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
