//! A folder with three files for each identity, against the making of the same folders and files, which
//! nothing takes to the disk.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use cert_tool::{KeySource, Sink};

use crate::bare::repeat;
use crate::compare::{compare, setting, thread_counts};
use crate::shop::Shop;

pub(crate) fn run() {
    let count = setting("BENCH_COUNT", 20_000);
    for threads in thread_counts() {
        compare(
            &format!("folders, {threads} threads"),
            count,
            |count| {
                let folder = tempfile::tempdir().unwrap();
                let root = folder.path().join("out/devices");
                fs::create_dir_all(&root).unwrap();
                let watch = repeat(count, threads, || (), |(), n| write(&root.join(format!("device{n}"))));
                // Not to be paid for by what comes after.
                sync(&root);
                watch
            },
            |count| Shop::new().issue(Sink::Folder, threads, count, |_| KeySource::Generate),
        );
    }
}

fn write(folder: &Path) {
    fs::create_dir(folder).unwrap();
    for (name, length) in [("key.pem", 241), ("chain.pem", 1400), ("cert.pem", 680)] {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(folder.join(name)).unwrap().write_all(&vec![b'x'; length]).unwrap();
    }
}

fn sync(folder: &Path) {
    let _ = std::process::Command::new("sync").arg("--file-system").arg(folder).status();
}
