//! What can be made to go wrong, per tenant. Everything is off by default and depends only on counters and the time.

use std::time::Duration;

use jiff::Timestamp;

/// When a fault applies: every n-th time, and only inside a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// 0 = never, 1 = always, n = the n-th, 2n-th, … occasion (occasions are counted from 1).
    pub every: u64,
    /// Not before this time (included).
    pub from: Option<Timestamp>,
    /// Not from this time on (excluded).
    pub until: Option<Timestamp>,
    /// Only this occasion, when set.
    pub only: Option<u64>,
}

impl When {
    /// On every occasion.
    pub const ALWAYS: When = When { every: 1, from: None, until: None, only: None };
    /// On no occasion.
    pub const NEVER: When = When { every: 0, from: None, until: None, only: None };

    /// On every n-th occasion.
    pub const fn every(n: u64) -> Self {
        When { every: n, ..When::ALWAYS }
    }

    /// On the n-th occasion alone.
    pub const fn only(n: u64) -> Self {
        When { only: Some(n), ..When::ALWAYS }
    }

    /// Always inside `[from, until)`.
    pub const fn between(from: Timestamp, until: Timestamp) -> Self {
        When { from: Some(from), until: Some(until), ..When::ALWAYS }
    }

    /// Whether it applies on occasion `n` (from 1) at time `at`.
    pub fn applies(&self, n: u64, at: Timestamp) -> bool {
        self.every != 0
            && n.is_multiple_of(self.every)
            && self.only.is_none_or(|only| only == n)
            && self.from.is_none_or(|from| at >= from)
            && self.until.is_none_or(|until| at < until)
    }
}

/// What the client asked for; the text is what AF429 calls `Method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Token endpoint.
    Token,
    /// `subscriptions/start`.
    Start,
    /// `subscriptions/stop`.
    Stop,
    /// `subscriptions/list`.
    Subscriptions,
    /// `subscriptions/content`.
    Contents,
    /// `audit/{contentId}`.
    Blob,
}

impl Operation {
    /// The name in AF429. `GetBlob` and `GetContents` were observed, the others follow their pattern.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Token => "Token",
            Operation::Start => "StartSubscription",
            Operation::Stop => "StopSubscription",
            Operation::Subscriptions => "ListSubscriptions",
            Operation::Contents => "GetContents",
            Operation::Blob => "GetBlob",
        }
    }
}

/// Another answer than the right one, or the right one badly delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// AF429 with this status (403 documented, 429 handled by every client) and, in seconds, `Retry-After`.
    Throttled {
        /// HTTP status.
        status: u16,
        /// Seconds, or no header.
        retry_after: Option<u64>,
    },
    /// 401 without a body.
    Unauthorized,
    /// AF50000 with 500.
    Internal,
    /// This status without a body: 408 and 503 were observed, any other works.
    Status(u16),
    /// 502 from a front door, in HTML.
    Html,
    /// AF50000 in single quotes: not JSON.
    SingleQuoted,
    /// An error object with status 200.
    ErrorIn200,
    /// Any error of the service.
    Service {
        /// HTTP status.
        status: u16,
        /// `AF…`.
        code: String,
        /// Words.
        message: String,
    },
    /// The right answer, this much later.
    Late(Duration),
    /// The right answer, of which only this many bytes arrive before the connection breaks.
    Cut(u64),
    /// The right answer, pausing for `pause` after `after` bytes.
    Stalled {
        /// Bytes before the pause.
        after: u64,
        /// How long nothing comes.
        pause: Duration,
    },
    /// The right answer, labelled as another content type, or with no label at all.
    ContentType(Option<&'static str>),
}

/// One rule for answers. Occasions are the requests of that operation by that tenant.
#[derive(Clone, Debug)]
pub struct AnswerFault {
    /// Which requests.
    pub when: When,
    /// Which operation; `None`: all but the token.
    pub on: Option<Operation>,
    /// What happens.
    pub wrong: Wrong,
}

/// What is odd about a content. Occasions are content numbers + 1; the time is when the content was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    /// Becomes visible this much later than it was created.
    Late(Duration),
    /// Is listed as already expired, and can't be fetched.
    Expired,
    /// Answers `[]`.
    Empty,
    /// Is not JSON at all.
    NotJson,
    /// Its second record is not JSON (the array still splits).
    BrokenRecord,
    /// The body lacks its last record and has another one when fetched again.
    Differs,
    /// The body has the same records in the opposite order when fetched again.
    Reordered,
    /// Repeats every n-th record of the content `back` places earlier, with keys in another order.
    Repeats {
        /// Which records of the earlier content.
        every: u32,
        /// How many contents earlier.
        back: u64,
    },
    /// Holds its first record twice, the second time with keys in another order.
    Twice,
    /// Has this many records instead of the usual number; many make the body large (about 1 KB each).
    Records(u32),
    /// Its first record has operation `auditferry-test-panic`.
    Panic,
    /// Its second record has the `Id` of the first but another operation.
    SharedId,
}

/// One rule for contents.
#[derive(Clone, Copy, Debug)]
pub struct ContentFault {
    /// Which contents.
    pub when: When,
    /// What is odd.
    pub odd: Odd,
}

/// How a listing leads to its next page. Occasions are pages of that tenant that have a next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paging {
    /// `/api/v1/` in place of `/api/v1.0/` (documented sample).
    V1,
    /// Parameter `nextpage`, last.
    LowerCase,
    /// Parameter `endtime`.
    EndTime,
    /// `startTime` is missing.
    NoStart,
    /// The header is called `NextPageUrl`.
    HeaderUrl,
    /// The next page is this page.
    Loop,
    /// The next page is on another host: scheme, host and port, such as `https://collector.example`.
    Foreign(String),
    /// A token that the next call refuses with AF20031.
    BadToken,
    /// A token that the service no longer knows and answers with AF50000, however often it is asked.
    DeadToken,
    /// The next page begins with the last item of this one.
    Overlap,
}

/// One rule for pages.
#[derive(Clone, Debug)]
pub struct PagingFault {
    /// Which pages.
    pub when: When,
    /// How.
    pub paging: Paging,
}

/// What the token endpoint answers besides its own checks of tenant, app and secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenWrong {
    /// AADSTS7000222: the secret has expired.
    SecretExpired,
    /// A token without `roles`, as when consent is missing.
    NoRoles,
    /// The service principal of the API is disabled (tenant without licence).
    ApiDisabled,
    /// `temporarily_unavailable` (AADSTS90033), 503.
    Unavailable,
    /// A token that expires after this many seconds.
    ShortLived(u32),
}

/// One rule for tokens. Occasions are token requests for that tenant.
#[derive(Clone, Copy, Debug)]
pub struct TokenFault {
    /// Which requests.
    pub when: When,
    /// What happens.
    pub wrong: TokenWrong,
}

/// How a subscription ends without the client's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disabled {
    /// It is gone: AF20022.
    Gone,
    /// AF20023, `a tenant admin`.
    ByTenantAdmin,
    /// AF20023, `a service admin`.
    ByServiceAdmin,
}

/// All faults of one tenant. The default has none.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The first rule that applies decides.
    pub answers: Vec<AnswerFault>,
    /// All rules that apply add up.
    pub contents: Vec<ContentFault>,
    /// All rules that apply add up.
    pub paging: Vec<PagingFault>,
    /// The first rule that applies decides.
    pub tokens: Vec<TokenFault>,
    /// At these times every enabled subscription of the tenant ends.
    pub disabled: Vec<(Timestamp, Disabled)>,
    /// Every n-th listing also has the content just before its window (0: never): the same content in two windows.
    pub repeat_before_window: u64,
    /// A window of more than 24 h is answered 200 with its first 24 h in place of AF20055.
    pub wide_window_partial: bool,
    /// What no times at all mean.
    pub default_window: DefaultWindow,
    /// Records with odd shapes: string numbers, no `Id` now and then, an unreadable `CreationTime`.
    pub odd_records: bool,
}

/// What a listing without times means; the documentation contradicts itself and a client met a third way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultWindow {
    /// The 24 hours before now (API reference).
    #[default]
    Preceding,
    /// Since midnight UTC (troubleshooting page).
    Today,
    /// 400 with a broken error body (issue 52 of the documentation).
    Broken,
}

impl Faults {
    /// What is wrong with the `n`-th request (from 1) for `operation`.
    pub fn answer(&self, operation: Operation, n: u64, at: Timestamp) -> Option<&Wrong> {
        self.answers
            .iter()
            .find(|fault| {
                let concerned = fault.on.map_or(operation != Operation::Token, |on| on == operation);
                concerned && fault.when.applies(n, at)
            })
            .map(|fault| &fault.wrong)
    }

    /// What is odd about content number `index`.
    pub fn odds(&self, index: u64, created: Timestamp) -> impl Iterator<Item = Odd> {
        self.contents
            .iter()
            .filter(move |fault| fault.when.applies(index.saturating_add(1), created))
            .map(|fault| fault.odd)
    }
}
