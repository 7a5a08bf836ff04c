//! What both languages share: tokens, the reader of tokens, suggestions.

mod cursor;
mod layout;
mod lexer;
mod suggest;
mod types;

pub(crate) use cursor::{Cursor, DEEPEST, Failed, MOST, Name, Parsed};
pub(crate) use layout::{Layout, Part};
pub(crate) use lexer::{Comment, Lexed, MOST_ERRORS, Token, TokenKind, lex};
pub(crate) use suggest::closest;
pub(crate) use types::data_type;
