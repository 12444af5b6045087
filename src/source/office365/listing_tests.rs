//! Tests of the listing's reader.

use http::HeaderValue;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| ((*name).try_into().unwrap(), HeaderValue::try_from(*value).unwrap())).collect()
}

#[test]
fn times_with_and_without_zone_and_fraction() {
    for (text, expected) in [
        ("2026-03-01T10:05:28.374Z", "2026-03-01T10:05:28.374Z"),
        ("2026-03-01T10:05:28", "2026-03-01T10:05:28Z"),
        ("2026-03-01T10:05:28.3741234", "2026-03-01T10:05:28.3741234Z"),
        (" 2026-03-01T12:05:28+02:00 ", "2026-03-01T10:05:28Z"),
        ("2026-03-01", "2026-03-01T00:00:00Z"),
    ] {
        assert_eq!(time(text), Some(at(expected)), "{text}");
    }
    for text in ["", "yesterday", "2026-13-01T00:00:00Z"] {
        assert_eq!(time(text), None, "{text}");
    }
    assert_eq!(wire_time(at("2026-03-01T10:05:28.9Z")), "2026-03-01T10:05:28");
}

#[test]
fn an_entry_is_owed_whenever_it_names_a_content() {
    let body = br#"[
        {"contentId":"a","contentUri":"https://h/a","contentCreated":"2026-03-01T10:00:00Z","contentExpiration":"2026-03-22T09:00:00Z","new":1},
        {"contentUri":"https://h/audit/b$c?x=1"},
        {"contentId":"d","contentCreated":"broken","contentExpiration":null},
        {"contentType":"Audit.General"},
        {"contentId":7},
        "text"
    ]"#;
    let fallback = at("2026-03-01T00:00:00Z");
    let entries = contents(body, fallback, |id| format!("https://own/{id}")).unwrap();
    let entry = |id: &str, uri: &str, created: &str, expires: &str| Listed {
        content_id: id.into(),
        uri: uri.into(),
        created: at(created),
        expires: at(expires),
    };
    assert_eq!(
        entries.contents,
        [
            entry("a", "https://h/a", "2026-03-01T10:00:00Z", "2026-03-22T09:00:00Z"),
            entry("b$c", "https://h/audit/b$c?x=1", "2026-03-01T00:00:00Z", "2026-03-08T00:00:00Z"),
            entry("d", "https://own/d", "2026-03-01T00:00:00Z", "2026-03-08T00:00:00Z"),
        ]
    );
    assert_eq!(entries.unreadable.len(), 3);
    assert_eq!(entries.unreadable[0], r#"an entry names no content: {"contentType":"Audit.General"}"#);
}

#[test]
fn what_is_no_list_is_an_error() {
    for body in ["", "{}", "<html>", "[", "null"] {
        assert!(contents(body.as_bytes(), Timestamp::UNIX_EPOCH, str::to_owned).is_err(), "{body}");
        assert!(subscriptions(body.as_bytes()).is_err(), "{body}");
    }
    assert!(contents(b"\xef\xbb\xbf[]", Timestamp::UNIX_EPOCH, str::to_owned).is_ok());
    assert_eq!(subscriptions(br#"[{"contentType":"a"},7,{"status":null}]"#).unwrap().len(), 2);
}

#[test]
fn the_next_page_stands_in_either_header() {
    assert_eq!(next_page(&headers(&[("nextpageuri", " https://h/a ")])), Some("https://h/a".into()));
    assert_eq!(next_page(&headers(&[("nextpageurl", "https://h/a")])), Some("https://h/a".into()));
    assert_eq!(next_page(&headers(&[("nextpageuri", "")])), None);
    assert_eq!(next_page(&headers(&[("x-aspnet-version", "4.0.30319")])), None);
}

#[test]
fn retry_after_as_seconds_and_as_date_within_bounds() {
    let now = at("2026-03-01T12:00:00Z");
    let after = |pairs: &[(&'static str, &str)]| retry_after(&headers(pairs), now).map(|wait| wait.as_secs());
    assert_eq!(after(&[("retry-after", "120")]), Some(120));
    assert_eq!(after(&[("retry-after", "0")]), Some(1));
    assert_eq!(after(&[("retry-after", "999999")]), Some(3_600));
    assert_eq!(after(&[("retry-after", "Sun, 01 Mar 2026 12:02:00 GMT")]), Some(120));
    assert_eq!(after(&[("retry-after", "Sun, 01 Mar 2026 11:00:00 GMT")]), Some(1));
    // reckoned by the service's own clock, whatever ours says
    let date = ("date", "Sun, 01 Mar 2026 11:59:00 GMT");
    assert_eq!(after(&[("retry-after", "Sun, 01 Mar 2026 12:02:00 GMT"), date]), Some(180));
    assert_eq!(after(&[("retry-after", "soon")]), None);
    assert_eq!(after(&[]), None);
}

#[test]
fn paging_stops_at_a_page_that_comes_again_and_at_the_thousandth() {
    let token = |n: usize| PageToken(format!("https://h/{n}"));
    let mut paging = Paging::default();
    for n in 0..MOST_PAGES {
        paging.follow(&token(n)).unwrap();
    }
    assert_eq!(paging.follow(&token(MOST_PAGES)), Err(PagingError::Endless(MOST_PAGES)));
    let mut paging = Paging::default();
    paging.follow(&token(1)).unwrap();
    paging.follow(&token(2)).unwrap();
    assert_eq!(paging.follow(&token(1)), Err(PagingError::Loop(2)));
}
