//! Listing of contents: windows, pages, and the ways in which they went wrong for real clients.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Simulator,
    faults::{DefaultWindow, Paging},
    query::Query,
    reply::{Answer, Refused, say},
    schedule::{Content, Stream},
    stamp::{DAY, iso, parse_bound, timestamp, zoneless},
};

/// `[start, end)` on contentCreated, and the content to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Page {
    start: i64,
    end: i64,
    from: Option<u64>,
}

/// A page that is never answered ([`Paging::DeadToken`]).
const DEAD: &str = "dead";

impl Page {
    /// The opaque token of the page that begins with content `from`. It holds the window, so that a NextPageUri without
    /// startTime still works, as it does at Microsoft.
    fn token(self, from: u64) -> String {
        format!("{:015}{:015}R{from:012}", self.start.max(0), self.end.max(0))
    }

    fn read(token: &str) -> Option<Self> {
        let (window, from) = token.split_once('R')?;
        if window.len() != 30 || from.len() != 12 || !window.is_ascii() {
            return None;
        }
        let (start, end) = window.split_at(15);
        Some(Page { start: start.parse().ok()?, end: end.parse().ok()?, from: Some(from.parse().ok()?) })
    }
}

impl Simulator {
    /// `subscriptions/content`.
    pub(super) fn contents(&mut self, tenant: usize, content_type: &str, query: &Query, now: i64) -> Answer {
        let content_type = match self.content_type(content_type) {
            Ok(it) => it,
            Err(answer) => return *answer,
        };
        let subscription = match self.enabled(tenant, content_type) {
            Ok(subscription) => subscription.clone(),
            Err(answer) => return *answer,
        };
        let page = match self.page(tenant, query, now) {
            Ok(page) => page,
            Err(answer) => return *answer,
        };
        let profile = Arc::clone(&self.profile);
        let stream = Stream { profile: &profile, tenant, content_type };
        let first = stream.first_from(page.start);
        let mut index = page.from.unwrap_or(first).max(first);
        let mut rows = Vec::new();
        let listings = self.tenants[tenant].pages;
        let repeat = stream.tenant().faults.repeat_before_window;
        if page.from.is_none() && repeat != 0 && (listings + 1).is_multiple_of(repeat) {
            let before = index.checked_sub(1).and_then(|index| stream.content(index));
            rows.extend(before.filter(|it| self.shown(&stream, &subscription, it, now)).map(|it| row(&stream, &it)));
        }
        let room = stream.tenant().page_size.max(1) + rows.len();
        let (mut last, mut next) = (index, None);
        // nothing is visible before it is created, so the loop ends at the present even for a window that does not
        while let Some(content) = stream.content(index).filter(|it| it.created < page.end && it.created <= now) {
            if self.shown(&stream, &subscription, &content, now) {
                if rows.len() == room {
                    next = Some(index);
                    break;
                }
                rows.push(row(&stream, &content));
                last = index;
            }
            index += 1;
        }
        self.tenants[tenant].pages += 1;
        let mut answer = Answer::json(200, &Value::Array(rows));
        if let Some(next) = next {
            let times = [("starttime", page.start), ("endtime", page.end)].map(|(name, at)| echo(query.get(name), at));
            self.lead_on(&stream, page, (next, last), times, now, &mut answer);
        }
        answer
    }

    /// The window that is asked for, or why not.
    fn page(&self, tenant: usize, query: &Query, now: i64) -> Result<Page, Refused> {
        if let Some(token) = query.get("nextpage") {
            if token == DEAD {
                return Err(Box::new(say::internal()));
            }
            return Page::read(token).ok_or_else(|| Box::new(say::next_page(token)));
        }
        let faults = &self.profile.tenants[tenant].faults;
        let (start_text, end_text) = (query.get("starttime"), query.get("endtime"));
        let bound = |name, text: Option<&str>| match text {
            None => Ok(None),
            Some(text) => parse_bound(text).map(Some).ok_or_else(|| Box::new(say::invalid(name, "datetime"))),
        };
        let (start, end) = match (bound("startTime", start_text)?, bound("endTime", end_text)?) {
            (Some(start), Some(end)) => (start, end),
            (None, None) => match faults.default_window {
                DefaultWindow::Preceding => return Ok(Page { start: now - DAY, end: now, from: None }),
                DefaultWindow::Today => {
                    return Ok(Page { start: now - now.rem_euclid(DAY), end: now, from: None });
                }
                DefaultWindow::Broken => return Err(Box::new(say::no_times())),
            },
            _ => {
                let (start, end) = (start_text.unwrap_or_default(), end_text.unwrap_or_default());
                return Err(Box::new(say::window(start, end)));
            }
        };
        let too_wide = end - start > DAY;
        if end <= start || start < now - 7 * DAY || (too_wide && !faults.wide_window_partial) {
            return Err(Box::new(say::window(&iso(start), &iso(end))));
        }
        // the documentation's other answer: 200 with a part of the window
        Ok(Page { start, end: if too_wide { start + DAY } else { end }, from: None })
    }

    /// Says where the next page is, in this tenant's manner.
    fn lead_on(
        &mut self,
        stream: &Stream<'_>,
        page: Page,
        (next, last): (u64, u64),
        [start, end]: [String; 2],
        now: i64,
        answer: &mut Answer,
    ) {
        let state = &mut self.tenants[stream.tenant];
        state.next_pages += 1;
        let (number, at) = (state.next_pages, timestamp(now));
        let rules = &stream.tenant().faults.paging;
        let ways: Vec<&Paging> = rules.iter().filter(|it| it.when.applies(number, at)).map(|it| &it.paging).collect();
        ways.iter().for_each(|way| self.strikes("page", way));
        let has = |way: &Paging| ways.contains(&way);
        let version = if has(&Paging::V1) { "v1" } else { "v1.0" };
        let foreign = ways.iter().find_map(|way| match way {
            Paging::Foreign(origin) => Some(origin.as_str()),
            _ => None,
        });
        let host = foreign.unwrap_or(&stream.profile.base_url);
        let (end_name, next_name) = (
            if has(&Paging::EndTime) { "endtime" } else { "endTime" },
            if has(&Paging::LowerCase) { "nextpage" } else { "nextPage" },
        );
        let from = if has(&Paging::Loop) {
            page.from.unwrap_or(stream.first_from(page.start))
        } else if has(&Paging::Overlap) && Some(last) != page.from && last > stream.first_from(page.start) {
            last
        } else {
            next
        };
        let token = match () {
            () if has(&Paging::BadToken) => "gone".to_owned(),
            () if has(&Paging::DeadToken) => DEAD.to_owned(),
            () => page.token(from),
        };
        let start = if has(&Paging::NoStart) { String::new() } else { format!("&startTime={start}") };
        let uri = format!(
            "{host}/api/{version}/{}/activity/feed/subscriptions/content?contentType={}{start}&{end_name}={end}&{next_name}={token}",
            stream.tenant().id,
            stream.content_type
        );
        answer.header(if has(&Paging::HeaderUrl) { "nextpageurl" } else { "nextpageuri" }, &uri);
    }
}

/// A bound as a next page repeats it: as it was asked for (API reference), else as it was worked out.
fn echo(asked: Option<&str>, at: i64) -> String {
    match asked {
        Some(text) if text.bytes().all(|it| it.is_ascii_alphanumeric() || b":.-".contains(&it)) => text.to_owned(),
        _ => zoneless(at),
    }
}

/// One element of a listing.
fn row(stream: &Stream<'_>, content: &Content) -> Value {
    json!({
        "contentType": stream.content_type,
        "contentId": content.id,
        "contentUri": format!(
            "{}/api/v1.0/{}/activity/feed/audit/{}", stream.profile.base_url, stream.tenant().id, content.id
        ),
        "contentCreated": iso(content.created),
        "contentExpiration": iso(content.expires),
    })
}
