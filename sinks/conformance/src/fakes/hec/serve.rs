//! Requests and answers.

use std::{
    io::Read,
    sync::{Arc, atomic::Ordering},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{ConnectInfo, Request, State as Shared},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header},
};

use super::{
    Behaviour, Canned, Indexing, State,
    connection::{Cut, Door},
    envelopes,
};

/// Where events go.
const EVENTS: [&str; 3] = ["/services/collector", "/services/collector/event", "/services/collector/event/1.0"];

/// Runs until the process or the task ends.
pub(super) async fn serve(door: Door, state: Arc<State>) {
    let service = Router::new().fallback(answer).with_state(state).into_make_service_with_connect_info::<Cut>();
    // it ends with the task that runs it, never by itself
    let _ = axum::serve(door, service).await;
}

type Answer = Response<Body>;

async fn answer(ConnectInfo(cut): ConnectInfo<Cut>, Shared(state): Shared<Arc<State>>, request: Request) -> Answer {
    let behaviour = state.behaviour().clone();
    let (parts, body) = request.into_parts();
    // at most what Splunk's own default would let through is read, whatever a client sends
    let Ok(body) = to_bytes(body, 838_860_800).await else { return ended(&cut) };
    let collects = EVENTS.contains(&parts.uri.path());
    if collects && !body.is_empty() {
        state.posts.fetch_add(1, Ordering::SeqCst);
    }
    if behaviour.down {
        return ended(&cut);
    }
    if behaviour.hang {
        std::future::pending::<()>().await;
    }
    pause(&behaviour).await;
    let (node, cookie) = node(&state, &behaviour, &parts.headers);
    let mut answer = match parts.uri.path() {
        _ if collects && parts.method == Method::POST => events(&state, &behaviour, &parts.headers, node, &body, &cut),
        _ if collects => said(405, 404, "The requested URL was not found on this server."),
        "/services/collector/ack" if parts.method == Method::POST => {
            question(&state, &behaviour, &parts.headers, node, &body, &cut)
        }
        "/services/collector/health" | "/services/collector/health/1.0" => said(200, 17, "HEC is healthy"),
        _ => said(404, 404, "The requested URL was not found on this server."),
    };
    if let Some(cookie) = cookie {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    answer
}

#[expect(clippy::disallowed_methods, reason = "a receiver that is slow is slow in real time")]
async fn pause(behaviour: &Behaviour) {
    if !behaviour.delay.is_zero() {
        tokio::time::sleep(behaviour.delay).await;
    }
}

/// Which indexer the balancer takes, and the cookie it sets.
fn node(state: &State, behaviour: &Behaviour, headers: &HeaderMap) -> (usize, Option<HeaderValue>) {
    let nodes = behaviour.nodes.max(1);
    let kept = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split("; "))
        .find_map(|pair| pair.strip_prefix("NODE=")?.parse::<usize>().ok());
    let turn = state.requests.fetch_add(1, Ordering::SeqCst);
    match kept {
        Some(node) if behaviour.sticky => (node % nodes, None),
        _ => {
            let node = turn % nodes;
            let cookie = behaviour.sticky && nodes > 1;
            (node, cookie.then(|| HeaderValue::from_str(&format!("NODE={node}; Path=/")).ok()).flatten())
        }
    }
}

fn events(state: &State, behaviour: &Behaviour, headers: &HeaderMap, node: usize, body: &[u8], cut: &Cut) -> Answer {
    if let Some(canned) = behaviour.canned.as_ref().filter(|canned| !canned.take) {
        return as_given(canned);
    }
    if let Err(refusal) = allowed(behaviour, headers) {
        return as_given(&refusal);
    }
    if !headers.contains_key("x-splunk-request-channel") {
        state.protocol_error("a post without a channel".to_string());
    }
    let channel = match channel(behaviour, headers) {
        Ok(channel) => channel,
        Err(refusal) => return as_given(&refusal),
    };
    let body = match plain(headers, body, behaviour.max_bytes) {
        Ok(body) => body,
        Err(status) => return as_given(&Canned::html(status)),
    };
    if body.is_empty() {
        return said(400, 5, "No data");
    }
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != "application/json") {
        state.protocol_error("a post whose content type is not application/json".to_string());
    }
    let (taken, stop) = envelopes::read(&body, behaviour, &mut |what| state.protocol_error(what));
    if taken.len() > behaviour.max_events || taken.len() == behaviour.max_events && stop.is_some() {
        return as_given(&Canned::html(413));
    }
    // events before the bad one are indexed, the ones after it are not looked at
    for event in &taken {
        state.arrivals.push(event.id, &event.body);
    }
    if let Some(stop) = stop {
        let body = format!(
            "{{\"text\":\"{}\",\"code\":{},\"invalid-event-number\":{}}}",
            text_of(stop.code),
            stop.code,
            stop.invalid
        );
        return json(400, body);
    }
    let number = (behaviour.indexing != Indexing::Off).then(|| state.acks().number(node, &channel));
    if once(state, |b| &mut b.lose) {
        return ended(cut);
    }
    if once(state, |b| &mut b.garble) {
        return as_given(&Canned::html(200));
    }
    if let Some(canned) = &behaviour.canned {
        return as_given(canned);
    }
    let number = number.map_or_else(String::new, |number| format!(",\"ackId\":{number}"));
    json(200, format!("{{\"text\":\"Success\",\"code\":0{number}}}"))
}

fn question(state: &State, behaviour: &Behaviour, headers: &HeaderMap, node: usize, body: &[u8], cut: &Cut) -> Answer {
    #[derive(serde::Deserialize)]
    struct Asked {
        acks: Vec<u64>,
    }
    state.questions.fetch_add(1, Ordering::SeqCst);
    if let Err(refusal) = allowed(behaviour, headers) {
        return as_given(&refusal);
    }
    if behaviour.indexing == Indexing::Off {
        return said(400, 14, "ACK is disabled");
    }
    let channel = match channel(behaviour, headers) {
        Ok(channel) => channel,
        Err(refusal) => return as_given(&refusal),
    };
    let Ok(asked) = serde_json::from_slice::<Asked>(body) else {
        state.protocol_error("a question that is no {\"acks\":[…]}".to_string());
        return said(400, 6, "Invalid data format");
    };
    let told: Vec<_> = {
        let mut acks = state.acks();
        let mut told = |n: &u64| format!("\"{n}\":{}", acks.indexed(node, &channel, *n, behaviour.indexing));
        asked.acks.iter().map(&mut told).collect()
    };
    if let Some(canned) = &behaviour.canned_ack {
        return as_given(canned);
    }
    if once(state, |b| &mut b.lose_ack) {
        return ended(cut);
    }
    json(200, format!("{{\"acks\":{{{}}}}}", told.join(",")))
}

/// The token first, as Splunk does.
fn allowed(behaviour: &Behaviour, headers: &HeaderMap) -> Result<(), Canned> {
    let Some(given) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
        return Err(says(401, 2, "Token is required"));
    };
    let Some(token) = given.strip_prefix("Splunk ") else { return Err(says(401, 3, "Invalid authorization")) };
    if !behaviour.tokens.iter().any(|known| known == token) {
        return Err(says(403, 4, "Invalid token"));
    }
    if behaviour.disabled {
        return Err(says(403, 1, "Token disabled"));
    }
    Ok(())
}

/// Demanded where the token acknowledges, and a GUID in any case.
fn channel(behaviour: &Behaviour, headers: &HeaderMap) -> Result<String, Canned> {
    let given = headers.get("x-splunk-request-channel").and_then(|value| value.to_str().ok());
    let Some(given) = given else {
        let demanded = behaviour.indexing != Indexing::Off;
        return if demanded { Err(says(400, 10, "Data channel is missing")) } else { Ok(String::new()) };
    };
    let dashes = |i: usize| matches!(i, 8 | 13 | 18 | 23);
    let guid = given.len() == 36
        && given.char_indices().all(|(i, c)| if dashes(i) { c == '-' } else { c.is_ascii_hexdigit() });
    if guid { Ok(given.to_string()) } else { Err(says(400, 11, "Invalid data channel")) }
}

/// The body without its encoding; an error is the status of the page that says why not.
fn plain(headers: &HeaderMap, body: &[u8], max_bytes: usize) -> Result<Bytes, u16> {
    let mut plain = Vec::new();
    match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => plain.extend_from_slice(body),
        Some(b"gzip") => {
            let limit = max_bytes as u64 + 1;
            flate2::read::GzDecoder::new(body).take(limit).read_to_end(&mut plain).map_err(|_| 400_u16)?;
        }
        Some(_) => return Err(415),
    }
    if plain.len() > max_bytes { Err(413) } else { Ok(plain.into()) }
}

/// True so many times as the counter says.
fn once(state: &State, counter: impl FnOnce(&mut Behaviour) -> &mut u32) -> bool {
    let mut behaviour = state.behaviour();
    let left = counter(&mut behaviour);
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}

/// Splunk's words for the codes that stop at an event.
fn text_of(code: u16) -> &'static str {
    match code {
        6 => "Invalid data format",
        7 => "Incorrect index",
        12 => "Event field is required",
        13 => "Event field cannot be blank",
        _ => "Error in handling indexed fields",
    }
}

fn said(status: u16, code: u16, text: &str) -> Answer {
    as_given(&says(status, code, text))
}

fn says(status: u16, code: u16, text: &str) -> Canned {
    in_json(status, format!("{{\"text\":\"{text}\",\"code\":{code}}}"))
}

fn json(status: u16, body: String) -> Answer {
    as_given(&in_json(status, body))
}

fn in_json(status: u16, body: String) -> Canned {
    Canned { status, headers: vec![("content-type", "application/json; charset=UTF-8".into())], body, take: false }
}

fn as_given(canned: &Canned) -> Answer {
    let mut answer = Response::new(Body::from(canned.body.clone()));
    *answer.status_mut() = StatusCode::from_u16(canned.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in &canned.headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().append(HeaderName::from_static(name), value);
        }
    }
    answer
}

/// The connection ends without an answer.
fn ended(cut: &Cut) -> Answer {
    cut.cut();
    Response::new(Body::empty())
}
