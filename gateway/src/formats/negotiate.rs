//! `Accept` of reads.

use http::HeaderMap;
use http::header::ACCEPT;
use omnigraph_proto::common::v1::ErrorReason;
use omnigraph_proto::error::WireError;

use super::Format;
use crate::errors::ApiError;

/// The format with the highest quality; of equal ones the first of the table.
pub(crate) fn negotiate(headers: &HeaderMap) -> Result<Format, ApiError> {
    let ranges: Vec<Range> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(Range::parse)
        .collect();
    if ranges.is_empty() && !headers.contains_key(ACCEPT) {
        return Ok(Format::Json);
    }
    let mut best: Option<(u16, Format)> = None;
    for format in [Format::Json, Format::Ndjson, Format::Arrow] {
        let quality = quality(&ranges, format.content_type());
        if quality > best.map_or(0, |(quality, _)| quality) {
            best = Some((quality, format));
        }
    }
    match best {
        Some((_, format)) => Ok(format),
        None => Err(ApiError::undecoded(WireError::new(
            ErrorReason::NotAcceptable,
            "'Accept' allows none of application/json, application/x-ndjson and \
             application/vnd.apache.arrow.stream",
        ))),
    }
}

/// One media range with its quality in thousandths.
struct Range {
    kind: String,
    quality: u16,
}

impl Range {
    fn parse(text: &str) -> Option<Range> {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().filter(|kind| !kind.is_empty())?;
        let quality = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .map_or(Some(1.0), |(_, q)| q.trim().parse::<f32>().ok())
            .unwrap_or(0.0);
        Some(Range {
            kind: kind.to_ascii_lowercase(),
            quality: (quality.clamp(0.0, 1.0) * 1000.0) as u16,
        })
    }

    /// How closely the range describes a type: 3 exactly, 2 by its family, 1 by `*/*`, 0 not.
    fn closeness(&self, content_type: &str) -> u8 {
        if self.kind == content_type {
            3
        } else if self.kind == "application/*" {
            2
        } else {
            u8::from(self.kind == "*/*")
        }
    }
}

/// The quality that the closest range gives.
fn quality(ranges: &[Range], content_type: &str) -> u16 {
    ranges
        .iter()
        .map(|range| (range.closeness(content_type), range.quality))
        .filter(|(closeness, _)| *closeness > 0)
        .max()
        .map_or(0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_then_order_decides() {
        let cases = [
            ("*/*", Some(Format::Json)),
            ("application/json", Some(Format::Json)),
            ("application/x-ndjson", Some(Format::Ndjson)),
            (
                "application/vnd.apache.arrow.stream, */*;q=0.1",
                Some(Format::Arrow),
            ),
            (
                "application/json;q=0.5, application/x-ndjson",
                Some(Format::Ndjson),
            ),
            ("application/json;q=0, */*", Some(Format::Ndjson)),
            ("application/*", Some(Format::Json)),
            ("text/html", None),
            ("text/html, application/json; q=0", None),
            ("", None),
        ];
        for (accept, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().expect("a header value"));
            assert_eq!(negotiate(&headers).ok(), expected, "{accept}");
        }
        assert_eq!(negotiate(&HeaderMap::new()).ok(), Some(Format::Json));
    }
}
