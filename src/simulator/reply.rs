//! Answers: what the service says, and how badly it arrives.

use std::{io::Write, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;

/// A response body: whole, or made while it is sent.
pub enum AnswerBody {
    /// All of it.
    Bytes(Bytes),
    /// In pieces; length unknown beforehand.
    Pieces(Box<dyn Iterator<Item = Bytes> + Send>),
}

/// What the simulator answers to one request.
pub struct Answer {
    /// Head and body.
    pub response: Response<AnswerBody>,
    /// The connection breaks after this many bytes of the body.
    pub cut_at: Option<u64>,
    /// The head comes this much later.
    pub delay: Option<Duration>,
    /// After this many bytes of the body nothing comes for this long.
    pub pause: Option<(u64, Duration)>,
}

/// An answer that stands in the way of the right one.
pub(super) type Refused = Box<Answer>;

impl Answer {
    /// With this status and body.
    pub fn new(status: u16, content_type: Option<&'static str>, body: impl Into<Bytes>) -> Self {
        Answer::with(status, content_type, AnswerBody::Bytes(body.into()))
    }

    /// With this status and any body.
    pub fn with(status: u16, content_type: Option<&'static str>, body: AnswerBody) -> Self {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = Answer { response, cut_at: None, delay: None, pause: None };
        if let Some(content_type) = content_type {
            answer.header("content-type", content_type);
        }
        answer
    }

    /// JSON.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Answer::new(status, Some(JSON), body.to_string())
    }

    /// The service's error envelope.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Answer::json(status, &json!({"error": {"code": code, "message": message}}))
    }

    /// Sets a header; what can't stand in one is left out.
    pub fn header(&mut self, name: &'static str, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }

    /// Compresses the body, piece by piece where it is made while it is sent.
    pub(super) fn compress(&mut self) {
        let body = std::mem::replace(self.response.body_mut(), AnswerBody::Bytes(Bytes::new()));
        *self.response.body_mut() = match body {
            AnswerBody::Bytes(bytes) if bytes.is_empty() => return,
            AnswerBody::Bytes(bytes) => AnswerBody::Bytes(gzip([bytes]).flatten().collect::<Vec<u8>>().into()),
            AnswerBody::Pieces(pieces) => AnswerBody::Pieces(Box::new(gzip(pieces))),
        };
        self.header("content-encoding", "gzip");
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The whole body, made now if need be; for tests and small answers.
    pub fn into_bytes(self) -> Bytes {
        match self.response.into_body() {
            AnswerBody::Bytes(bytes) => bytes,
            AnswerBody::Pieces(pieces) => pieces.flatten().collect::<Vec<u8>>().into(),
        }
    }
}

fn gzip(pieces: impl IntoIterator<Item = Bytes>) -> impl Iterator<Item = Bytes> {
    let mut pieces = pieces.into_iter();
    let mut encoder = Some(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    std::iter::from_fn(move || {
        let mut open = encoder.take()?;
        // writing to a Vec can't fail; should it, the body ends here and the client sees a broken stream
        match pieces.next() {
            Some(piece) => {
                open.write_all(&piece).ok()?;
                let out = std::mem::take(open.get_mut());
                encoder = Some(open);
                Some(Bytes::from(out))
            }
            None => open.finish().ok().map(Bytes::from),
        }
    })
}

/// The content type of all answers of the feed.
pub const JSON: &str = "application/json; charset=utf-8";

/// What all of the service's errors say, by name; wire literals from the API reference and from client issues.
pub mod say {
    use super::Answer;

    /// AF10001: `roles` as sent.
    pub fn permission(roles: &str, expected: &str) -> Answer {
        let words = format!(
            "The permission set ({roles}) sent in the request did not include the expected permission {expected}."
        );
        Answer::error(401, "AF10001", &words)
    }

    /// AF20001.
    pub fn missing(parameter: &str) -> Answer {
        Answer::error(400, "AF20001", &format!("Missing parameter: {parameter}."))
    }

    /// AF20002.
    pub fn invalid(parameter: &str, expected: &str) -> Answer {
        let words = format!("Invalid parameter type: {parameter}. Expected type: {expected}");
        Answer::error(400, "AF20002", &words)
    }

    /// AF20010.
    pub fn other_tenant(url: &str, token: &str) -> Answer {
        let words = format!(
            "The tenant ID passed in the URL ({url}) does not match the tenant ID passed in the access token ({token})."
        );
        Answer::error(401, "AF20010", &words)
    }

    /// AF20011.
    pub fn no_tenant(tenant: &str) -> Answer {
        let words = format!("Specified tenant ID ({tenant}) does not exist in the system or has been deleted.");
        Answer::error(400, "AF20011", &words)
    }

    /// AF20013.
    pub fn not_a_guid(tenant: &str) -> Answer {
        Answer::error(400, "AF20013", &format!("The tenant ID passed in the URL ({tenant}) is not a valid GUID."))
    }

    /// AF20020.
    pub fn content_type() -> Answer {
        Answer::error(400, "AF20020", "The specified content type is not valid.")
    }

    /// AF20022.
    pub fn no_subscription() -> Answer {
        Answer::error(400, "AF20022", "No subscription found for the specified content type.")
    }

    /// AF20023.
    pub fn disabled(by: &str) -> Answer {
        Answer::error(400, "AF20023", &format!("The subscription was disabled by {by}."))
    }

    /// AF20024, undocumented: seen by three clients.
    pub fn already_enabled() -> Answer {
        Answer::error(400, "AF20024", "The subscription is already enabled. No property change.")
    }

    /// AF20031.
    pub fn next_page(token: &str) -> Answer {
        Answer::error(400, "AF20031", &format!("Invalid nextPage Input: {token}."))
    }

    /// AF20050.
    pub fn no_content(id: &str) -> Answer {
        Answer::error(404, "AF20050", &format!("The specified content ({id}) does not exist."))
    }

    /// AF20051.
    pub fn expired(id: &str) -> Answer {
        let words = format!(
            "Content requested with the key {id} has already expired. Content older than 7 days cannot be retrieved."
        );
        Answer::error(404, "AF20051", &words)
    }

    /// AF20052.
    pub fn bad_content_id(id: &str) -> Answer {
        Answer::error(400, "AF20052", &format!("Content ID {id} in the URL is invalid."))
    }

    /// AF20055, with the offending values as one client saw them.
    pub fn window(start: &str, end: &str) -> Answer {
        let words = format!(
            "Start time and end time must both be specified (or both omitted) and must be less than or equal to 24 hours \
             apart, with the start time prior to end time and start time no more than 7 days in the past. \
             StartTime:{start}, EndTime:{end}"
        );
        Answer::error(400, "AF20055", &words)
    }

    /// AF429.
    pub fn throttled(status: u16, method: &str, publisher: &str) -> Answer {
        let words = format!("Too many requests. Method={method}, PublisherId={publisher}");
        Answer::error(status, "AF429", &words)
    }

    /// AF50000.
    pub fn internal() -> Answer {
        Answer::error(500, "AF50000", "An internal error occurred. Retry the request.")
    }

    /// What `start` says while the unified audit log is off: cut at the wrong colon, with a stack trace.
    pub fn audit_off(tenant: &str, client: &str, content_type: &str, publisher: &str, trace: &str) -> Answer {
        let code = format!(
            "StartSubscription [CorrId={trace}][TenantId={tenant},ContentType={content_type},ApplicationId={client},\
             PublisherId={publisher}][AppId"
        );
        // the cut takes the first character of the application id with it, in every published capture
        let message = format!(
            "{}] failed. Exception: Microsoft.Office.Compliance.Audit.DataServiceException: Tenant {tenant} does not \
             exist.\r\n   at Microsoft.Office.Compliance.Audit.API.AzureManager.\
             <GetSubscriptionTableClientForTenantAsync>d__52.MoveNext()\r\n--- End of stack trace from previous location \
             where exception was thrown ---",
            client.get(1..).unwrap_or_default()
        );
        Answer::error(400, &code, &message)
    }

    /// What a listing without times says in the third reading.
    pub fn no_times() -> Answer {
        Answer::error(400, "String reference not set to an instance of a String.\r\nParameter name", "s")
    }
}
