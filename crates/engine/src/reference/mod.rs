//! A second implementation of the query language, as plain as can be, and random queries on which
//! it and the engine have to agree.
//!
//! It shares nothing with `exec` and `write` but checked queries and values. Seeds are printed;
//! `OMNIGRAPH_RANDOM_SEED` runs one again, `OMNIGRAPH_RANDOM_GRAPHS` says how many graphs there are.
//!
//! | file | subject |
//! |---|---|
//! | `data` | a graph as a list of entities |
//! | `expr`, `cast`, `functions`, `text` | expressions, one row at a time |
//! | `matching`, `paths` | `match` by trying everything |
//! | `reading`, `writing` | whole reads and mutations |
//! | `random`, `schemas`, `expressions`, `queries` | what is tried |
//! | `agreement` | the tests |

mod agreement;
mod cast;
mod data;
mod expr;
mod expressions;
mod functions;
mod matching;
mod paths;
mod queries;
mod random;
mod reading;
mod schemas;
mod text;
mod writing;
