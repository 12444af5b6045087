//! The activity feed: who may call, subscriptions, and bodies of contents.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, header};
use serde_json::{Value, json};

use super::{
    Simulator, Subscription,
    draft::Hand,
    faults::{Disabled, Odd, Operation, Wrong},
    profile::{CONTENT_TYPES, ROLE_READ, ROLE_READ_DLP, ms},
    query::Query,
    random::{Dice, is_guid},
    reply::{Answer, AnswerBody, JSON, Refused, say},
    schedule::{Content, NotAnId, Slot, Stream},
    stamp::timestamp,
};

/// What is wrong with the way in which an answer comes.
pub(super) fn hamper(answer: &mut Answer, wrong: &Wrong) {
    match *wrong {
        Wrong::Late(by) => answer.delay = Some(by),
        Wrong::Cut(at) => answer.cut_at = Some(at),
        Wrong::Stalled { after, pause } => answer.pause = Some((after, pause)),
        Wrong::ContentType(label) => {
            answer.response.headers_mut().remove(header::CONTENT_TYPE);
            if let Some(label) = label {
                answer.header("content-type", label);
            }
        }
        _ => {}
    }
}

const ZERO: &str = "00000000-0000-0000-0000-000000000000";
/// Bodies with more records are made while they are sent.
const WHOLE_RECORDS: u32 = 2_000;

impl Simulator {
    /// One call under `…/activity/feed/`.
    pub(super) fn feed(
        &mut self,
        tenant_text: &str,
        rest: &[&str],
        query: &Query,
        request: &Request<Bytes>,
        now: i64,
    ) -> Answer {
        let operation = match (request.method(), rest) {
            (&Method::POST, ["subscriptions", "start"]) => Operation::Start,
            (&Method::POST, ["subscriptions", "stop"]) => Operation::Stop,
            (&Method::GET, ["subscriptions", "list"]) => Operation::Subscriptions,
            (&Method::GET, ["subscriptions", "content"]) => Operation::Contents,
            (&Method::GET, ["audit", _]) => Operation::Blob,
            (_, ["subscriptions", "start" | "stop" | "list" | "content"] | ["audit", _]) => {
                return Answer::new(405, None, Bytes::new());
            }
            _ => return Answer::new(404, None, Bytes::new()),
        };
        let authorization = request.headers().get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
        let Some(Ok(claims)) = authorization.map(|it| self.verify(it, now)) else {
            return Answer::new(401, None, Bytes::new());
        };
        if !is_guid(tenant_text) {
            return say::not_a_guid(tenant_text);
        }
        if !claims.tid.eq_ignore_ascii_case(tenant_text) {
            return say::other_tenant(tenant_text, &claims.tid);
        }
        let Some(tenant) = self.profile.tenants.iter().position(|it| it.id.eq_ignore_ascii_case(tenant_text)) else {
            return say::no_tenant(tenant_text);
        };
        let content_type = query.get("contenttype").unwrap_or_default();
        let needed = if content_type.eq_ignore_ascii_case("DLP.All") { ROLE_READ_DLP } else { ROLE_READ };
        if !claims.roles.iter().any(|role| role == needed) {
            return say::permission(&claims.roles.join(" "), needed);
        }
        let publisher = query.get("publisheridentifier").filter(|it| !it.is_empty());
        if publisher.is_some_and(|it| !is_guid(it)) {
            return say::invalid("PublisherIdentifier", "guid");
        }
        let number = self.count(tenant, operation);
        let over = match publisher {
            Some(_) => {
                let limit = self.profile.tenants[tenant].quota;
                self.tenants[tenant].quota.over(now, limit)
            }
            None => self.shared.over(now, self.profile.shared_quota),
        };
        let publisher = publisher.unwrap_or(ZERO).to_owned();
        if over {
            return say::throttled(self.profile.throttle_status, operation.name(), &publisher);
        }
        let wrong = self.profile.tenants[tenant].faults.answer(operation, number, timestamp(now)).cloned();
        if let Some(wrong) = &wrong {
            self.strikes("answer", wrong);
        }
        if let Some(answer) = wrong.as_ref().and_then(|wrong| self.wrong(operation, wrong, &publisher)) {
            return answer;
        }
        self.end_subscriptions(tenant, now);
        let cut = match wrong {
            Some(Wrong::Cut(at)) => Some(at),
            _ => None,
        };
        let mut answer = match operation {
            Operation::Start => self.start(tenant, content_type, &publisher, request.body(), now),
            Operation::Stop => self.stop(tenant, content_type, now),
            Operation::Subscriptions => self.subscriptions(tenant),
            Operation::Contents => self.contents(tenant, content_type, query, now),
            Operation::Blob | Operation::Token => self.blob(tenant, rest.get(1).unwrap_or(&""), cut, now),
        };
        if let Some(wrong) = &wrong {
            hamper(&mut answer, wrong);
        }
        answer
    }

    /// The content type in the service's spelling, or why not.
    pub(super) fn content_type(&self, text: &str) -> Result<&'static str, Refused> {
        if text.is_empty() {
            return Err(Box::new(say::missing("contentType")));
        }
        CONTENT_TYPES.into_iter().find(|it| it.eq_ignore_ascii_case(text)).ok_or_else(|| Box::new(say::content_type()))
    }

    /// Ends what the profile says has ended by now.
    fn end_subscriptions(&mut self, tenant: usize, now: i64) {
        let (endings, mut ended) = (&self.profile.tenants[tenant].faults.disabled, Vec::new());
        for subscription in self.tenants[tenant].subscriptions.values_mut() {
            for (at, how) in endings.iter().skip(subscription.endings).take_while(|it| it.0.as_millisecond() <= now) {
                subscription.endings += 1;
                if subscription.enabled && subscription.started <= at.as_millisecond() {
                    subscription.enabled = false;
                    subscription.ended = Some(*how);
                    ended.push(*how);
                    subscription.lost.push((at.as_millisecond(), i64::MAX));
                }
            }
        }
        ended.iter().for_each(|how| self.strikes("off", how));
    }

    fn start(&mut self, tenant: usize, content_type: &str, publisher: &str, body: &Bytes, now: i64) -> Answer {
        let content_type = match self.content_type(content_type) {
            Ok(it) => it,
            Err(answer) => return *answer,
        };
        let profile = &self.profile.tenants[tenant];
        if !profile.audit {
            let trace = Dice::new(&[self.profile.seed, now as u64]).guid();
            return say::audit_off(&profile.id, &profile.client, content_type, publisher, &trace);
        }
        let webhook = match webhook(body) {
            Ok(webhook) => webhook,
            Err(answer) => return *answer,
        };
        let subscription = self.tenants[tenant].subscriptions.entry(content_type.to_ascii_lowercase()).or_default();
        if subscription.enabled && subscription.webhook == webhook {
            return say::already_enabled();
        }
        if !subscription.enabled {
            if let Some(open) = subscription.lost.last_mut().filter(|it| it.1 == i64::MAX) {
                open.1 = now;
            }
            subscription.started = now;
        }
        subscription.enabled = true;
        subscription.ended = None;
        subscription.webhook = webhook.clone();
        Answer::json(200, &json!({"contentType": content_type, "status": "enabled", "webhook": webhook}))
    }

    fn stop(&mut self, tenant: usize, content_type: &str, now: i64) -> Answer {
        let content_type = match self.content_type(content_type) {
            Ok(it) => it,
            Err(answer) => return *answer,
        };
        match self.tenants[tenant].subscriptions.get_mut(&content_type.to_ascii_lowercase()) {
            Some(subscription) if subscription.enabled => {
                subscription.enabled = false;
                subscription.ended = None;
                subscription.lost.push((now, i64::MAX));
                Answer::new(200, None, Bytes::new())
            }
            _ => say::no_subscription(),
        }
    }

    fn subscriptions(&self, tenant: usize) -> Answer {
        let rows: Vec<Value> = self.tenants[tenant]
            .subscriptions
            .iter()
            .filter(|(_, subscription)| subscription.ended != Some(Disabled::Gone))
            .map(|(name, subscription)| {
                let name = CONTENT_TYPES.into_iter().find(|it| it.eq_ignore_ascii_case(name)).unwrap_or_default();
                let status = if subscription.enabled { "enabled" } else { "disabled" };
                json!({"contentType": name, "status": status, "webhook": subscription.webhook})
            })
            .collect();
        Answer::json(200, &Value::Array(rows))
    }

    /// The subscription of an enabled stream, or the error that says it is not.
    pub(super) fn enabled(&self, tenant: usize, content_type: &str) -> Result<&Subscription, Refused> {
        match self.tenants[tenant].subscriptions.get(&content_type.to_ascii_lowercase()) {
            Some(subscription) if subscription.enabled => Ok(subscription),
            Some(Subscription { ended: Some(Disabled::ByTenantAdmin), .. }) => {
                Err(Box::new(say::disabled("a tenant admin")))
            }
            Some(Subscription { ended: Some(Disabled::ByServiceAdmin), .. }) => {
                Err(Box::new(say::disabled("a service admin")))
            }
            _ => Err(Box::new(say::no_subscription())),
        }
    }

    /// Whether a listing or a download at `now` may show `content`.
    pub(super) fn shown(&self, stream: &Stream<'_>, subscription: &Subscription, content: &Content, now: i64) -> bool {
        let quiet = ms(stream.tenant().silence);
        content.visible <= now
            && now >= subscription.started.saturating_add(quiet)
            && !(stream.tenant().lose_while_stopped
                && subscription.lost.iter().any(|span| content.created >= span.0 && content.created < span.1))
    }

    fn blob(&mut self, tenant: usize, id: &str, cut: Option<u64>, now: i64) -> Answer {
        // the id has literal dollar signs: a client that encodes them has changed the URL that it was given
        if id.contains('%') {
            return say::bad_content_id(id);
        }
        let name = id.split('$').nth(3).unwrap_or_default().replace('_', ".");
        let profile = Arc::clone(&self.profile);
        let Some(stream) = Stream::find(&profile, tenant, &name) else { return say::bad_content_id(id) };
        let content = match stream.by_id(id) {
            Err(NotAnId) => return say::bad_content_id(id),
            Ok(None) => return say::no_content(id),
            Ok(Some(content)) => content,
        };
        let subscription = match self.enabled(tenant, stream.content_type) {
            Ok(subscription) => subscription,
            Err(answer) => return *answer,
        };
        if content.expired(now) {
            if content.odds.contains(&Odd::Expired) {
                self.strikes("content", &Odd::Expired);
            }
            return say::expired(id);
        }
        if !self.shown(&stream, subscription, &content, now) {
            return say::no_content(id);
        }
        let key = (stream.key(), content.index);
        let served = self.tenants[tenant].fetched.get(&key).copied().unwrap_or(0);
        // these two show themselves when it is fetched again
        let shows = |odd: &&Odd| served > 0 || !matches!(odd, Odd::Differs | Odd::Reordered);
        content.odds.iter().filter(shows).for_each(|odd| self.strikes("content", odd));
        let body = self.body(&stream, &content, served > 0);
        let whole = match &body {
            AnswerBody::Bytes(bytes) => cut.is_none_or(|at| at >= bytes.len() as u64),
            AnswerBody::Pieces(_) => cut.is_none(),
        };
        if whole {
            *self.tenants[tenant].fetched.entry(key).or_default() += 1;
            self.fold(tenant, &stream, now);
        }
        Answer::with(200, Some(JSON), body)
    }

    fn body(&self, stream: &Stream<'_>, content: &Content, again: bool) -> AnswerBody {
        if !content.readable() {
            return AnswerBody::Bytes(Bytes::from_static(
                b"The page cannot be displayed because an internal error has occurred.",
            ));
        }
        let slots: Vec<Slot> = stream.slots(content, again).collect();
        if content.records <= WHOLE_RECORDS {
            let mut out = vec![b'['];
            for (position, slot) in slots.into_iter().enumerate() {
                put(stream, content, slot, position, &mut out);
            }
            out.push(b']');
            return AnswerBody::Bytes(out.into());
        }
        pieces(Arc::clone(&self.profile), stream.tenant, stream.content_type, content.clone(), slots)
    }
}

/// A body made while it is sent; it keeps the profile, nothing else.
fn pieces(
    profile: Arc<super::Profile>,
    tenant: usize,
    content_type: &'static str,
    content: Content,
    slots: Vec<Slot>,
) -> AnswerBody {
    let mut at = 0usize;
    AnswerBody::Pieces(Box::new(std::iter::from_fn(move || {
        if at == slots.len() {
            return None;
        }
        let stream = Stream { profile: &profile, tenant, content_type };
        let mut out = if at == 0 { vec![b'['] } else { Vec::new() };
        let end = (at + 64).min(slots.len());
        for (position, slot) in slots.iter().enumerate().take(end).skip(at) {
            put(&stream, &content, *slot, position, &mut out);
        }
        at = end;
        if at == slots.len() {
            out.push(b']');
        }
        Some(Bytes::from(out))
    })))
}

/// One record of a body, with the comma before it.
fn put(stream: &Stream<'_>, content: &Content, slot: Slot, position: usize, out: &mut Vec<u8>) {
    let record = match slot {
        // the content at hand need not be worked out again
        Slot::Own { index, number } if index == content.index => Some(stream.write(content, number, Hand::First)),
        slot => stream.record(slot),
    };
    let Some((bytes, _)) = record else { return };
    if position > 0 {
        out.push(b',');
    }
    out.extend_from_slice(&bytes);
}

/// The webhook in a start body, if any.
fn webhook(body: &Bytes) -> Result<Option<Value>, Refused> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let asked: Value = serde_json::from_slice(body).map_err(|_| Box::new(say::invalid("webhook", "object")))?;
    let Some(webhook) = asked.get("webhook").filter(|it| !it.is_null()) else { return Ok(None) };
    let address = webhook.get("address").and_then(Value::as_str).unwrap_or_default();
    if !address.starts_with("https://") {
        let words =
            format!("The webhook endpoint ({address}) could not be validated. The address must begin with HTTPS.");
        return Err(Box::new(Answer::error(400, "AF20021", &words)));
    }
    // nobody listens at the other end of a simulated service, so validation is taken as passed
    Ok(Some(json!({
        "status": "enabled", "address": address,
        "authId": webhook.get("authId"),
        // an empty expiration is answered as null (the API reference's sample)
        "expiration": webhook.get("expiration").filter(|it| it.as_str() != Some(""))
    })))
}
