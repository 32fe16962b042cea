//! A position among the tokens of a query.

use std::iter::Peekable;
use std::vec::IntoIter;

use super::QueryError;
use super::lexer::{Token, TokenKind, shortened, tokens};

/// The tokens that are still to be read.
pub(crate) struct Cursor {
    tokens: Peekable<IntoIter<Token>>,
    end: Token,
}

impl Cursor {
    pub(crate) fn new(text: &str) -> Result<Self, QueryError> {
        Ok(Self {
            tokens: tokens(text)?.into_iter().peekable(),
            end: Token { kind: TokenKind::End, column: text.chars().count() + 1 },
        })
    }

    pub(crate) fn take_keyword(&mut self, keyword: &str) -> bool {
        let found = matches!(&self.peek().kind, TokenKind::Word(word) if word.eq_ignore_ascii_case(keyword));
        if found {
            self.next();
        }
        found
    }

    pub(crate) fn expect_keyword(&mut self, keyword: &'static str) -> Result<(), QueryError> {
        if self.take_keyword(keyword) { Ok(()) } else { Err(self.unexpected(keyword)) }
    }

    pub(crate) fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek().kind, TokenKind::Symbol(found) if found == symbol);
        if found {
            self.next();
        }
        found
    }

    pub(crate) fn expect_symbol(&mut self, symbol: &'static str) -> Result<(), QueryError> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.unexpected(symbol)) }
    }

    pub(crate) fn peek(&mut self) -> &Token {
        self.tokens.peek().unwrap_or(&self.end)
    }

    pub(crate) fn next(&mut self) {
        self.tokens.next();
    }

    pub(crate) fn unexpected(&mut self, wanted: &str) -> QueryError {
        let found = match &self.peek().kind {
            TokenKind::Word(text) | TokenKind::QuotedName(text) => format!("`{}`", shortened(text)),
            TokenKind::Text(text) => format!("'{}'", shortened(text)),
            TokenKind::Number(number) => format!("`{number}`"),
            TokenKind::Symbol(symbol) => format!("`{symbol}`"),
            TokenKind::End => "the end".to_owned(),
        };
        self.error(format!("expected {wanted}, found {found}"))
    }

    pub(crate) fn error(&mut self, problem: String) -> QueryError {
        QueryError { column: self.peek().column, problem }
    }
}
