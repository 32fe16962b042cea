//! Panics, which are bugs: they end a program with the exit code 70, in one of two ways.

use std::panic::{self, AssertUnwindSafe};

use crate::exit::Exit;

/// Runs a command. Returns `None` after a panic, which has been printed already.
///
/// For commands that end by themselves: what they have to put away is put away before the end.
pub fn catch<T>(command: impl FnOnce() -> T) -> Option<T> {
    panic::catch_unwind(AssertUnwindSafe(command)).ok()
}

/// Makes every panic end the process, in any thread.
///
/// For servers: one that continued after a panic would have a half-done write in memory, and its
/// user would not learn of the bug.
pub fn end_process() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |found| {
        before(found);
        Exit::Bug.end_process();
    }));
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::{env, thread};

    use super::*;

    #[test]
    fn a_command_that_panics_has_no_result() {
        assert_eq!(catch(|| 3), Some(3));
        assert_eq!(catch(|| -> u8 { panic!("as intended") }), None);
    }

    /// Runs itself in a separate process, which the panic ends.
    #[test]
    fn a_panic_in_any_thread_ends_the_process_with_70() {
        const PANICKING: &str = "CLI_SUPPORT_TEST_PANICS";
        if env::var_os(PANICKING).is_some() {
            end_process();
            let ended = thread::spawn(|| panic!("as intended"));
            let _ = ended.join();
            Exit::Done.end_process();
        }
        let mut test = Command::new(env::current_exe().unwrap());
        test.args(["--exact", "panic::tests::a_panic_in_any_thread_ends_the_process_with_70"]);
        let output = test.env(PANICKING, "1").output().unwrap();
        assert_eq!(output.status.code(), Some(70), "{output:?}");
    }
}
