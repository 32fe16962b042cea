//! The paths and links of a page.
//!
//! A word of code is a path of the tree if it begins with a folder of the root (`docs/style.md`).
//! Such a path starts at the root or at the folder of the page. In a sentence, a word is also a path
//! of the tree if it ends as only files of the tree do (`.rs`, `.md`, `.txt`) or in a slash. Then
//! the end of the path is enough (`ledger/store.rs`, `hub/`). All other words may be files of users.

use std::path::{Component, Path, PathBuf};

use crate::page::{Form, Page};
use crate::tree::Tree;

/// The endings of files that users of the programs do not name.
const ENDINGS: [&str; 3] = [".rs", ".md", ".txt"];
/// The marks of a part of a path that stands for several names.
const PLACEHOLDERS: [char; 4] = ['*', '…', '<', '{'];

/// The paths of a page that do not exist.
pub(crate) fn faults(page: &Page, tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for code in &page.codes {
        for (number, line) in code.text.lines().enumerate() {
            let missing =
                line.split_whitespace().map(bare).filter(|word| is_missing(word, code.form, page, tree));
            faults.extend(missing.map(|word| page.fault(code.line + number, &format!("no path {word}"))));
        }
    }
    faults
}

fn is_missing(word: &str, form: Form, page: &Page, tree: &Tree) -> bool {
    let is_of_root = |first: &str| !first.is_empty() && tree.has(Path::new(first));
    if word.split_once('/').is_some_and(|(first, _)| is_of_root(first)) {
        return !tree.has(Path::new(named(word))) && !tree.has(&from_root(&page.name, named(word)));
    }
    if form != Form::Inline || word.starts_with('/') || word.contains(PLACEHOLDERS) || word.contains("://") {
        return false;
    }
    match word.strip_suffix('/') {
        Some(folder) => !tree.has_folder_like(folder),
        None => ENDINGS.iter().any(|end| word.ends_with(end)) && !tree.has_file_like(word),
    }
}

/// A word without the punctuation around it.
fn bare(word: &str) -> &str {
    word.trim_matches(|letter| "()[],;:'\"".contains(letter)).trim_end_matches('.')
}

/// The part of a path before a placeholder.
fn named(path: &str) -> &str {
    match path.find(PLACEHOLDERS) {
        Some(at) => {
            path.get(..at).and_then(|before| before.rsplit_once('/')).map_or("", |(folder, _)| folder)
        }
        None => path.trim_end_matches('/'),
    }
}

/// The links of a page to files and headings that do not exist.
pub(crate) fn dead_links(page: &Page, pages: &[Page], tree: &Tree) -> Vec<String> {
    let internal = page.links.iter().filter(|(_, target)| !target.contains("://"));
    let dead = internal.filter(|(_, target)| {
        let (file, anchor) = target.split_once('#').map_or((&**target, None), |(file, at)| (file, Some(at)));
        let path = match file {
            "" => page.name.clone(),
            file => from_root(&page.name, file),
        };
        let has_anchor = |anchor: &str| {
            let mut all = std::iter::once(page).chain(pages);
            all.any(|other| other.name == path && other.anchors.iter().any(|known| known == anchor))
        };
        !(file.is_empty() || tree.has(&path)) || anchor.is_some_and(|anchor| !has_anchor(anchor))
    });
    dead.map(|(line, target)| page.fault(*line, &format!("no target of the link {target}"))).collect()
}

/// A path from the root, for one that a page names from its own folder.
fn from_root(page: &Path, target: &str) -> PathBuf {
    let mut path = page.parent().map(Path::to_owned).unwrap_or_default();
    for part in Path::new(target).components() {
        match part {
            Component::ParentDir => _ = path.pop(),
            part => path.push(part),
        }
    }
    path
}
