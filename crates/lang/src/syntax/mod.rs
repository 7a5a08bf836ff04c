//! What both languages share: tokens, the reader of tokens, suggestions.

mod cursor;
mod lexer;
mod suggest;
mod types;

pub(crate) use cursor::{Cursor, Failed, Name, Parsed};
pub(crate) use lexer::{Lexed, MOST_ERRORS, TokenKind, lex};
pub(crate) use suggest::closest;
pub(crate) use types::data_type;
