//! Reads the answers of `subscriptions/content` and `subscriptions/list`, and guards the paging.

use std::{collections::BTreeSet, time::Duration};

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp, civil};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::envelope::clean;

/// How long a content can be fetched when the service does not say: 7 days after it became available.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// One content of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Opaque and unique within the tenant.
    pub content_id: String,
    /// Where it can be fetched, as the service wrote it. Checked by `fetch` before the token goes there.
    pub uri: String,
    /// When it became available.
    pub created: Timestamp,
    /// Until when it can be fetched.
    pub expires: Timestamp,
}

/// The address of a page after the first; opaque.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageToken(pub(super) String);

/// Watches the pages of one listing: a page that comes again, or no end, would list for ever.
#[derive(Debug, Default)]
pub struct Paging {
    seen: BTreeSet<PageToken>,
}

/// More pages than any tenant has had in a day.
const MOST_PAGES: usize = 10_000;

/// Why a listing can't be followed to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PagingError {
    /// The service sent an address that this listing has followed already.
    #[error("the service leads to page {0} of this listing again; the window is listed anew later")]
    Loop(usize),
    /// There is no end.
    #[error("the listing has no end after {0} pages; the window is listed anew later")]
    Endless(usize),
}

impl Paging {
    /// Call before each page after the first is asked for.
    pub fn follow(&mut self, token: &PageToken) -> Result<(), PagingError> {
        if self.seen.len() >= MOST_PAGES {
            return Err(PagingError::Endless(self.seen.len()));
        }
        if !self.seen.insert(token.clone()) {
            return Err(PagingError::Loop(self.seen.len()));
        }
        Ok(())
    }
}

/// The raw next-page address of a page's head. Documented as `NextPageUri`, once as `NextPageUrl`; an empty one is none.
pub(super) fn next_page(headers: &HeaderMap) -> Option<String> {
    ["nextpageuri", "nextpageurl"]
        .iter()
        .filter_map(|name| headers.get(*name))
        .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
        .find(|value| !value.is_empty())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireContent {
    content_id: Option<String>,
    content_uri: Option<String>,
    content_created: Option<String>,
    content_expiration: Option<String>,
}

/// What a page of a listing held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Entries {
    pub contents: Vec<Listed>,
    /// Words about entries that name no content at all and can't be owed.
    pub unreadable: Vec<String>,
}

/// Reads a page. `fallback` stands for a missing `contentCreated`; `uri_of` makes the address of a content without one.
pub(super) fn contents(
    body: &[u8],
    fallback: Timestamp,
    uri_of: impl Fn(&str) -> String,
) -> Result<Entries, serde_json::Error> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let raw: Vec<&RawValue> = serde_json::from_slice(body)?;
    let mut entries = Entries::default();
    for raw in raw {
        let wire: Option<WireContent> = serde_json::from_str(raw.get()).ok();
        let text =
            |value: &Option<String>| value.as_deref().map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned);
        let named = wire.as_ref().and_then(|wire| {
            // either of the two names the content
            let uri = text(&wire.content_uri);
            let from_uri = || uri.as_deref().and_then(|u| u.split('?').next()?.rsplit('/').next().map(str::to_owned));
            let id = text(&wire.content_id).or_else(from_uri).filter(|id| !id.is_empty())?;
            let uri = uri.clone().unwrap_or_else(|| uri_of(&id));
            Some((id, uri, wire))
        });
        let Some((content_id, uri, wire)) = named else {
            entries.unreadable.push(format!("an entry names no content: {}", clean(raw.get(), 200)));
            continue;
        };
        let created = wire.content_created.as_deref().and_then(time).unwrap_or(fallback);
        let expires = wire.content_expiration.as_deref().and_then(time);
        let expires = expires.unwrap_or_else(|| created.checked_add(KEPT).unwrap_or(Timestamp::MAX));
        entries.contents.push(Listed { content_id, uri, created, expires });
    }
    Ok(entries)
}

/// A time of the wire: ISO 8601, with or without zone (then UTC), with or without fractions.
pub(super) fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    text.parse::<Timestamp>()
        .ok()
        .or_else(|| jiff::tz::Offset::UTC.to_timestamp(text.parse::<civil::DateTime>().ok()?).ok())
}

/// The time as the service documents it: seconds, no zone (an unescaped `+00:00` would arrive as a blank).
pub(super) fn wire_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// One row of `subscriptions/list`, every field optional as in Microsoft's own sample.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireSubscription {
    pub content_type: Option<String>,
    pub status: Option<String>,
}

/// Reads `subscriptions/list`; a row that can't be read counts as none.
pub(super) fn subscriptions(body: &[u8]) -> Result<Vec<WireSubscription>, serde_json::Error> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let raw: Vec<&RawValue> = serde_json::from_slice(body)?;
    Ok(raw.into_iter().filter_map(|raw| serde_json::from_str(raw.get()).ok()).collect())
}

/// `Date`, as every HTTP answer should have it.
pub(super) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    http_date(headers.get(http::header::DATE)?.to_str().ok()?)
}

/// `Retry-After`: seconds, or a date compared with the answer's own; between 1 s and 1 h.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = http_date(text)?;
            Duration::try_from(until.duration_since(date(headers).unwrap_or(now))).unwrap_or_default()
        }
    };
    Some(wait.clamp(Duration::from_secs(1), Duration::from_secs(3_600)))
}

fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text.trim()).ok()
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
