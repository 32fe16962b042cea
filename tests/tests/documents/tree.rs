//! The files of the repository.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;

/// The files and folders of the repository, relative to its root, without build output and hidden
/// ones.
pub(crate) struct Tree {
    root: PathBuf,
    files: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
}

/// The hidden folder that belongs to the tree.
const CI: &str = ".ci";
/// The output of cargo.
const TARGET: &str = "target";
/// The folders with output of other tools, anywhere in the tree.
const OUTPUT: [&str; 2] = ["node_modules", "__pycache__"];

impl Tree {
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self { root: root.to_owned(), files: BTreeSet::new(), folders: BTreeSet::new() };
        tree.add(Path::new(""))?;
        Ok(tree)
    }

    fn add(&mut self, folder: &Path) -> Result<()> {
        for entry in std::fs::read_dir(self.root.join(folder))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = folder.join(&name);
            let is_hidden = name.starts_with('.') && name != CI;
            if is_hidden || OUTPUT.contains(&name.as_str()) || path == Path::new(TARGET) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                self.add(&path)?;
                self.folders.insert(path);
            } else {
                self.files.insert(path);
            }
        }
        Ok(())
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// Returns true if this file or folder exists, named from the root.
    pub(crate) fn has(&self, path: &Path) -> bool {
        path == Path::new("") || self.files.contains(path) || self.folders.contains(path)
    }

    /// Returns true if a file ends in this path.
    pub(crate) fn has_file_like(&self, end: &str) -> bool {
        self.files.iter().any(|file| file.ends_with(end))
    }

    /// Returns true if a folder ends in this path.
    pub(crate) fn has_folder_like(&self, end: &str) -> bool {
        self.folders.iter().any(|folder| folder.ends_with(end))
    }

    /// The text of a file, if it exists.
    pub(crate) fn text(&self, file: &Path) -> Result<Option<String>> {
        let exists = self.files.contains(file);
        Ok(exists.then(|| std::fs::read_to_string(self.root.join(file))).transpose()?)
    }

    /// The folder of the package with this name.
    pub(crate) fn package(&self, name: &str) -> Result<Option<PathBuf>> {
        for file in self.files.iter().filter(|file| file.ends_with("Cargo.toml")) {
            let head = format!("[package]\nname = \"{name}\"\n");
            if self.text(file)?.is_some_and(|text| text.starts_with(&head)) {
                return Ok(file.parent().map(Path::to_owned));
            }
        }
        Ok(None)
    }
}
