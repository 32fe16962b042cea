//! The string literals of Rust source, with a lexer that distinguishes code, comments, strings and
//! characters.

/// A string literal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Literal {
    /// The line on which it begins, from 1.
    pub(crate) line: usize,
    /// The value of the literal, without escapes.
    pub(crate) text: String,
    /// The code before it, back to the last `;`, `{` or `}`.
    pub(crate) before: String,
}

/// Returns the literals of a source, without those of its unit tests.
pub(crate) fn literals(source: &str) -> Vec<Literal> {
    let production = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or(source);
    let mut scanner = Scanner { rest: production, line: 1, before: String::new(), found: Vec::new() };
    while !scanner.rest.is_empty() {
        scanner.step();
    }
    scanner.found
}

struct Scanner<'s> {
    rest: &'s str,
    line: usize,
    before: String,
    found: Vec<Literal>,
}

impl Scanner<'_> {
    fn step(&mut self) {
        if self.rest.starts_with("//") {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.skip(end);
        } else if let Some(hashes) = raw_hashes(self.rest) {
            self.raw(hashes);
        } else if self.rest.starts_with('"') {
            self.quoted();
        } else if self.rest.starts_with('\'') {
            self.skip(character_length(self.rest));
        } else {
            self.code();
        }
    }

    fn code(&mut self) {
        let Some(first) = self.rest.chars().next() else { return };
        match first {
            ';' | '{' | '}' => self.before.clear(),
            _ => self.before.push(first),
        }
        self.skip(first.len_utf8());
    }

    fn skip(&mut self, length: usize) {
        let (skipped, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.line += skipped.matches('\n').count();
        self.rest = rest;
    }

    fn raw(&mut self, hashes: usize) {
        let (begin, end) = (hashes + 2, format!("\"{}", "#".repeat(hashes)));
        let body = self.rest.get(begin..).unwrap_or_default();
        let length = body.find(&end).unwrap_or(body.len());
        self.add(body.get(..length).unwrap_or_default().to_owned());
        self.skip(begin + length + end.len());
    }

    fn quoted(&mut self) {
        let mut text = String::new();
        let mut letters = self.rest.char_indices().skip(1).peekable();
        let mut end = self.rest.len();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => match letters.next().map(|(_, escaped)| escaped) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('\n') => while letters.next_if(|(_, next)| next.is_whitespace()).is_some() {},
                    Some(escaped) => text.push(escaped),
                    None => {}
                },
                other => text.push(other),
            }
        }
        self.add(text);
        self.skip(end);
    }

    fn add(&mut self, text: String) {
        self.found.push(Literal { line: self.line, text, before: self.before.trim().to_owned() });
        self.before.push_str("\"…\"");
    }
}

/// The number of hashes of a raw string that begins here.
fn raw_hashes(rest: &str) -> Option<usize> {
    let behind = rest.strip_prefix('r')?;
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    behind.get(hashes..)?.starts_with('"').then_some(hashes)
}

/// The length of a character, or of the quote of a lifetime.
fn character_length(rest: &str) -> usize {
    let mut letters = rest.char_indices().skip(1);
    match letters.next() {
        Some((_, '\\')) => {
            let end = rest.get(3..).and_then(|rest| rest.find('\''));
            end.map_or(1, |end| end + 4)
        }
        Some((at, letter))
            if rest.get(at + letter.len_utf8()..).is_some_and(|rest| rest.starts_with('\'')) =>
        {
            at + letter.len_utf8() + 1
        }
        _ => 1,
    }
}
