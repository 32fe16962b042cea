//! The end of the process after a panic, with the exit code 70 for a bug, in any thread.

use std::panic;
use std::process;

use super::BUG;

/// Makes every panic end the process. A server that continued after a panic would have a half-done
/// write in memory, and its user would not learn of the bug.
pub(super) fn end_with_the_process() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |found| {
        before(found);
        process::exit(i32::from(BUG));
    }));
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::{env, thread};

    use super::*;

    /// Runs itself in a separate process, which the panic ends.
    #[test]
    fn a_panic_in_any_thread_ends_the_process_with_70() {
        const PANICKING: &str = "LOCAL_HUB_TEST_PANICS";
        if env::var_os(PANICKING).is_some() {
            end_with_the_process();
            let ended = thread::spawn(|| panic!("as intended"));
            let _ = ended.join();
            process::exit(0);
        }
        let mut test = Command::new(env::current_exe().unwrap());
        test.args(["--exact", "cli::bug::tests::a_panic_in_any_thread_ends_the_process_with_70"]);
        let output = test.env(PANICKING, "1").output().unwrap();
        assert_eq!(output.status.code(), Some(70), "{output:?}");
    }
}
