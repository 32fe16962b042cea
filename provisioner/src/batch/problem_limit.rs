//! [`ProblemLimit`]: how many problems of a batch are shown. A damaged file can have one for each of its lines.

use batch_file::Problem;

/// Counts problems, and says of each whether it is still shown.
#[derive(Debug, Default)]
pub(crate) struct ProblemLimit {
    errors: u64,
    warnings: u64,
}

impl ProblemLimit {
    /// Counts a problem, and returns true if it is shown.
    pub(crate) fn shows(&mut self, problem: &Problem) -> bool {
        let count = if problem.is_error() { &mut self.errors } else { &mut self.warnings };
        *count += 1;
        *count <= MAX_SHOWN
    }

    /// The numbers of errors and warnings that were not shown.
    pub(crate) fn left_out(&self) -> (u64, u64) {
        (self.errors.saturating_sub(MAX_SHOWN), self.warnings.saturating_sub(MAX_SHOWN))
    }

    /// Says how many were not shown, if any.
    pub(crate) fn summary(&self) -> Option<String> {
        match self.left_out() {
            (0, 0) => None,
            (errors, warnings) => Some(format!(
                "{errors} more errors and {warnings} more warnings are not listed; correct those that are and check again"
            )),
        }
    }
}

/// Of each kind. More than anybody reads, and a few hundred KiB.
const MAX_SHOWN: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use batch_file::Severity;

    #[test]
    fn errors_and_warnings_are_counted_apart_and_what_is_left_out_is_said() {
        let problem = |severity| Problem {
            severity,
            file: "b.csv".to_owned(),
            line: Some(2),
            column: None,
            value: None,
            message: "wrong".to_owned(),
            remedy: "correct it".to_owned(),
        };
        let mut limit = ProblemLimit::default();
        let shown = (0..1_500).filter(|_| limit.shows(&problem(Severity::Warning))).count();
        assert_eq!((shown, limit.left_out()), (1_000, (0, 500)));
        assert!(limit.shows(&problem(Severity::Error)));
        assert!(limit.summary().unwrap().contains("0 more errors and 500 more warnings"));
        assert_eq!(ProblemLimit::default().summary(), None);
    }
}
