//! [`Origins`]: where requests are from. The library need not know; who has to mend one must.

use hub_types::shown::ShownPath;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use batch_file::{PemSource, Row};
use cert_tool::Refusal;
use hub_types::IdentityId;

/// The origins of the pending requests, in the order in which their outcomes are reported.
#[derive(Default)]
pub(crate) struct Origins {
    batch: PathBuf,
    waiting: Mutex<VecDeque<Origin>>,
}

enum Origin {
    Asked(RequestLocation),
    Refused(RefusedFile),
}

/// The origin of a request.
enum RequestLocation {
    File(PathBuf),
    /// A row of the batch, and the file that it names.
    Row {
        line: u64,
        file: Option<PathBuf>,
    },
}

/// A file with a request that nobody even has to be asked for.
pub(crate) struct RefusedFile {
    pub(crate) file: PathBuf,
    /// The identity that the file names, if it names one.
    pub(crate) identity: Option<IdentityId>,
    pub(crate) refusal: Refusal,
}

impl Origins {
    /// For requests in the rows of a batch.
    pub(crate) fn of_batch(batch: &Path) -> Self {
        Self { batch: batch.to_owned(), waiting: Mutex::default() }
    }

    /// The next request is from a file.
    pub(crate) fn file(&self, file: PathBuf) {
        self.queue().push_back(Origin::Asked(RequestLocation::File(file)));
    }

    /// The next request is from a row.
    pub(crate) fn row(&self, row: &Row) {
        let file = match row.csr.as_ref().or(row.public_key.as_ref()) {
            Some(PemSource::Path(path)) => Some(path.clone()),
            _ => None,
        };
        self.queue().push_back(Origin::Asked(RequestLocation::Row { line: row.line, file }));
    }

    /// There is no request in what comes next.
    pub(crate) fn refused(&self, refused: RefusedFile) {
        self.queue().push_back(Origin::Refused(refused));
    }

    /// Returns the origin of the next outcome's request, and the files refused before it.
    pub(crate) fn next(&self) -> (Vec<RefusedFile>, Option<String>) {
        let mut refused = Vec::new();
        let mut queue = self.queue();
        while let Some(origin) = queue.pop_front() {
            match origin {
                Origin::Refused(file) => refused.push(file),
                Origin::Asked(place) => return (refused, Some(self.shown(&place))),
            }
        }
        (refused, None)
    }

    fn shown(&self, place: &RequestLocation) -> String {
        let batch = ShownPath(&self.batch);
        match place {
            RequestLocation::File(file) => ShownPath(file).to_string(),
            RequestLocation::Row { line, file: None } => format!("{batch}:{line}"),
            RequestLocation::Row { line, file: Some(file) } => format!("{batch}:{line}: {}", ShownPath(file)),
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Origin>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
