//! Query parameters and names.

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;

use crate::app::AppState;
use crate::errors::ApiError;

/// The query parameters of a request. None that is used may be repeated.
pub(crate) struct QueryParams(Vec<(String, String)>);

impl QueryParams {
    /// The value of a parameter.
    pub(crate) fn one(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self.0.iter().filter(|(key, _)| key == name);
        let first = values.next();
        if values.next().is_some() {
            return Err(ApiError::bad_request(format!(
                "query parameter '{name}' is there more than once"
            )));
        }
        Ok(first.map(|(_, value)| value.as_str()))
    }

    /// All values of a parameter that may be repeated.
    pub(crate) fn many<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let values = self.0.iter().filter(move |(key, _)| key == name);
        values.map(|(_, value)| value.as_str())
    }

    /// The value of a parameter as text of its own.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, ApiError> {
        Ok(self.one(name)?.map(str::to_owned))
    }

    /// A branch name; `main` if it is absent.
    pub(crate) fn branch(&self, name: &str) -> Result<String, ApiError> {
        branch_name(self.one(name)?, "main")
    }

    /// A page size; `None` if it is absent.
    pub(crate) fn limit(&self, max: u32) -> Result<Option<u32>, ApiError> {
        let Some(text) = self.one("limit")? else {
            return Ok(None);
        };
        match text.parse::<u32>() {
            Ok(limit) if (1..=max).contains(&limit) => Ok(Some(limit)),
            _ => Err(ApiError::bad_request(format!(
                "query parameter 'limit' must be a number from 1 to {max}"
            ))),
        }
    }

    /// A switch: present without a value, or `true`/`false`.
    pub(crate) fn switch(&self, name: &str) -> Result<bool, ApiError> {
        match self.one(name)? {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(_) => Err(ApiError::bad_request(format!(
                "query parameter '{name}' must be 'true' or 'false'"
            ))),
        }
    }

    /// Refuses parameters that are not in the list.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self
            .0
            .iter()
            .find(|(key, _)| !known.contains(&key.as_str()))
        {
            None => Ok(()),
            Some((key, _)) => Err(ApiError::bad_request(format!(
                "unknown query parameter '{key}'"
            ))),
        }
    }
}

impl FromRequestParts<AppState> for QueryParams {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map(|Query(pairs)| QueryParams(pairs))
            .map_err(|_| ApiError::bad_request("the query string cannot be decoded"))
    }
}

/// A branch name, trimmed; the default if it is absent.
pub(crate) fn branch_name(given: Option<&str>, default: &str) -> Result<String, ApiError> {
    match given.map(str::trim) {
        None => Ok(default.to_owned()),
        Some("") => Err(ApiError::bad_request("the branch name is empty")),
        Some(name) => Ok(name.to_owned()),
    }
}
