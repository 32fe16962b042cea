//! The parts of a Markdown page that can name something.

use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// A Markdown page.
pub(crate) struct Page {
    /// The path from the root of the repository.
    pub(crate) name: PathBuf,
    pub(crate) codes: Vec<Code>,
    /// The targets of links, with their lines.
    pub(crate) links: Vec<(usize, String)>,
    /// The anchors of headings.
    pub(crate) anchors: Vec<String>,
}

/// Code of a page.
pub(crate) struct Code {
    /// The line on which it begins, from 1.
    pub(crate) line: usize,
    pub(crate) form: Form,
    pub(crate) text: String,
}

/// The form of code.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Form {
    /// In the middle of a sentence.
    Inline,
    /// A block of shell commands.
    Shell,
    /// A block of shell commands behind `$ `, with their output.
    Console,
    /// A block in a different language.
    Other,
}

impl Page {
    pub(crate) fn new(name: &Path, text: &str) -> Self {
        let mut page =
            Self { name: name.to_owned(), codes: Vec::new(), links: Vec::new(), anchors: Vec::new() };
        let (mut heading, mut block) = (None, None);
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            let line = text.get(..range.start).unwrap_or_default().matches('\n').count() + 1;
            match event {
                Event::Start(Tag::Link { dest_url, .. }) => page.links.push((line, dest_url.into_string())),
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    page.anchors.extend(heading.take().map(|text| anchor(&text)))
                }
                Event::Start(Tag::CodeBlock(kind)) => {
                    block = Some(Code { line: line + 1, form: form(&kind), text: String::new() });
                }
                Event::End(TagEnd::CodeBlock) => page.codes.extend(block.take()),
                Event::Code(code) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&code);
                    }
                    page.codes.push(Code { line, form: Form::Inline, text: code.into_string() });
                }
                Event::Text(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                    if let Some(block) = &mut block {
                        block.text.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        page
    }

    /// A fault of the page at this line.
    pub(crate) fn fault(&self, line: usize, fault: &str) -> String {
        format!("{}:{line}: {fault}", self.name.to_string_lossy())
    }
}

fn form(kind: &CodeBlockKind<'_>) -> Form {
    match kind {
        CodeBlockKind::Fenced(language) if &**language == "sh" => Form::Shell,
        CodeBlockKind::Fenced(language) if &**language == "console" => Form::Console,
        _ => Form::Other,
    }
}

/// The anchor that GitHub gives to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|letter| letter.is_alphanumeric() || "-_".contains(*letter)).collect()
}
