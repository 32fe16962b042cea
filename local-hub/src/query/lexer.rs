//! The lexer of the query language.

use std::iter::Peekable;
use std::str::CharIndices;

use hub_types::shown::ShownChar;

use super::QueryError;

/// A token, and the column at which it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) column: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenKind {
    /// A keyword or a name.
    Word(String),
    /// A name in `[[…]]`, which is never a keyword.
    QuotedName(String),
    Text(String),
    Number(f64),
    Symbol(&'static str),
    End,
}

/// The tokens of a query, with [`TokenKind::End`] as the last.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, QueryError> {
    let mut lexer = Lexer { text, chars: text.char_indices().peekable(), column: 1 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let column = lexer.column;
        let kind = lexer.token()?;
        let ended = kind == TokenKind::End;
        tokens.push(Token { kind, column });
        if ended {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
    column: usize,
}

impl<'a> Lexer<'a> {
    fn token(&mut self) -> Result<TokenKind, QueryError> {
        let Some(&(start, first)) = self.chars.peek() else {
            return Ok(TokenKind::End);
        };
        let rest = self.text.get(start..).unwrap_or_default();
        if rest.starts_with("[[") {
            return self.quoted_name(rest);
        }
        if is_word_start(first) {
            return Ok(TokenKind::Word(self.take_while(is_word).to_owned()));
        }
        let digit_follows = rest.chars().nth(1).is_some_and(|c| c.is_ascii_digit());
        if first.is_ascii_digit() || (matches!(first, '-' | '+' | '.') && digit_follows) {
            return self.number();
        }
        if matches!(first, '\'' | '"') {
            return self.quoted_text(first);
        }
        match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            Some(symbol) => {
                symbol.chars().for_each(|_| self.bump());
                Ok(TokenKind::Symbol(symbol))
            }
            None => Err(self.error(format!("{} is not part of any query", ShownChar(first)))),
        }
    }

    fn quoted_name(&mut self, rest: &str) -> Result<TokenKind, QueryError> {
        let Some((name, _)) = rest.get(2..).and_then(|rest| rest.split_once("]]")) else {
            return Err(self.error("`[[` is never closed".to_owned()));
        };
        let name = name.to_owned();
        (0..name.chars().count() + 4).for_each(|_| self.bump());
        Ok(TokenKind::QuotedName(name))
    }

    fn number(&mut self) -> Result<TokenKind, QueryError> {
        let column = self.column;
        let mut before = ' ';
        let text = self.take_while(|c| {
            // A sign belongs to the number at its start and after the letter of an exponent.
            let sign_fits = matches!(before, ' ' | 'e' | 'E');
            before = c;
            c.is_ascii_alphanumeric() || c == '.' || (matches!(c, '+' | '-') && sign_fits)
        });
        let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        let value = match hex {
            Some(digits) => u32::from_str_radix(digits, 16).ok().map(f64::from),
            None => text.parse().ok().filter(|number: &f64| number.is_finite()),
        };
        value
            .map(TokenKind::Number)
            .ok_or_else(|| QueryError { column, problem: format!("`{}` is no number", shortened(text)) })
    }

    /// Reads a string in either kind of quotes, with JSON's escapes; a doubled quote is a quote.
    fn quoted_text(&mut self, quote: char) -> Result<TokenKind, QueryError> {
        let unclosed = self.error(format!("the string that begins with {quote} is never closed"));
        self.bump();
        let mut text = String::new();
        while let Some(character) = self.next_char() {
            match character {
                '\\' => text.push(self.escape()?),
                c if c != quote => text.push(c),
                _ if self.chars.peek().is_some_and(|(_, c)| *c == quote) => {
                    self.bump();
                    text.push(quote);
                }
                _ => return Ok(TokenKind::Text(text)),
            }
        }
        Err(unclosed)
    }

    fn escape(&mut self) -> Result<char, QueryError> {
        let unknown = self.error("no such escape in a string".to_owned());
        match self.next_char() {
            Some(c @ ('\\' | '/' | '\'' | '"')) => Ok(c),
            Some('b') => Ok('\u{8}'),
            Some('f') => Ok('\u{c}'),
            Some('n') => Ok('\n'),
            Some('r') => Ok('\r'),
            Some('t') => Ok('\t'),
            Some('u') => {
                let digits: String = (0..4).filter_map(|_| self.next_char()).collect();
                let code = u32::from_str_radix(&digits, 16).ok();
                code.and_then(char::from_u32).ok_or(unknown)
            }
            _ => Err(unknown),
        }
    }

    fn take_while(&mut self, mut wanted: impl FnMut(char) -> bool) -> &'a str {
        let start = self.position();
        while self.chars.peek().is_some_and(|(_, c)| wanted(*c)) {
            self.bump();
        }
        self.text.get(start..self.position()).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn position(&mut self) -> usize {
        self.chars.peek().map_or(self.text.len(), |(index, _)| *index)
    }

    fn next_char(&mut self) -> Option<char> {
        self.column += 1;
        self.chars.next().map(|(_, c)| c)
    }

    fn bump(&mut self) {
        self.next_char();
    }

    fn error(&self, problem: String) -> QueryError {
        QueryError { column: self.column, problem }
    }
}

/// Shortens a text for a message.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

fn is_word_start(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '_' | '$')
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

/// The symbols, longer ones first.
const SYMBOLS: [&str; 15] = ["!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", "[", "]", ",", ".", "*", ";"];
