//! The token endpoint (v1 and v2, client secret), and the check of its tokens. Tokens carry their own proof, so nothing
//! about them is kept: memory stays the same however many are issued.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    Simulator,
    faults::{Operation, TokenWrong},
    feed::hamper,
    profile::TenantProfile,
    query::Query,
    random::Dice,
    reply::{Answer, JSON},
    stamp::{iso, timestamp},
};

/// What a token says. Names and values as in Microsoft's published sample of a token for this API.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Claims {
    pub aud: String,
    pub iss: String,
    pub iat: i64,
    pub nbf: i64,
    pub exp: i64,
    pub appid: String,
    pub oid: String,
    pub sub: String,
    pub tid: String,
    pub ver: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

/// Why a token does not count; all of it is a 401 without a body.
pub(super) struct NotAToken;

impl Simulator {
    fn signature(&self, signed: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(self.profile.seed.to_be_bytes());
        hash.update(signed.as_bytes());
        URL_SAFE_NO_PAD.encode(hash.finalize())
    }

    fn sign(&self, claims: &Claims) -> String {
        let header = json!({"typ": "JWT", "alg": "HS256", "kid": "auditferry-simulator"});
        let payload = serde_json::to_vec(claims).unwrap_or_default();
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload));
        let signature = self.signature(&signed);
        format!("{signed}.{signature}")
    }

    /// Reads an `Authorization` header at `now` (milliseconds, the service's clock).
    pub(super) fn verify(&self, authorization: &str, now: i64) -> Result<Claims, NotAToken> {
        let token = authorization.strip_prefix("Bearer ").or_else(|| authorization.strip_prefix("bearer "));
        let (signed, signature) = token.and_then(|token| token.trim().rsplit_once('.')).ok_or(NotAToken)?;
        if self.signature(signed) != signature {
            return Err(NotAToken);
        }
        let payload = signed.split_once('.').ok_or(NotAToken)?.1;
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| NotAToken)?;
        let claims: Claims = serde_json::from_slice(&payload).map_err(|_| NotAToken)?;
        let second = now.div_euclid(1_000);
        let audience = claims.aud == self.profile.audience || claims.aud == self.profile.base_url;
        if !audience || second >= claims.exp || second < claims.nbf { Err(NotAToken) } else { Ok(claims) }
    }

    /// The tenant's position, by GUID or domain, or what Entra ID says of one that it does not know.
    fn known(&self, tenant: &str, now: i64) -> Result<usize, Box<Answer>> {
        let known = self
            .profile
            .tenants
            .iter()
            .position(|it| it.id.eq_ignore_ascii_case(tenant) || it.domain.eq_ignore_ascii_case(tenant));
        known.ok_or_else(|| {
            let words = format!(
                "AADSTS90002: Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are \
                 signing into the correct cloud. Check with your subscription administrator, this may happen if there \
                 are no active subscriptions for the tenant."
            );
            Box::new(self.oauth(400, "invalid_request", 90002, &words, now))
        })
    }

    /// A tenant's OpenID metadata: the members that a client of this API may look at.
    pub(super) fn openid(&self, tenant: &str, now: i64) -> Answer {
        let tenant = match self.known(tenant, now) {
            Ok(position) => &self.profile.tenants[position],
            Err(answer) => return *answer,
        };
        let base = &self.profile.base_url;
        let mut body = json!({
            "token_endpoint": format!("{base}/{}/oauth2/v2.0/token", tenant.id),
            "issuer": format!("{base}/{}/v2.0", tenant.id),
            "tenant_region_scope": "EU",
            "cloud_instance_name": tenant.cloud_instance
        });
        if !tenant.region_sub_scope.is_empty() {
            body["tenant_region_sub_scope"] = json!(tenant.region_sub_scope);
        }
        Answer::json(200, &body)
    }

    /// Answers a token request for `tenant` (GUID or domain); `v2` says which endpoint.
    pub(super) fn token(&mut self, tenant: &str, v2: bool, form: &Query, now: i64) -> Answer {
        let position = match self.known(tenant, now) {
            Ok(position) => position,
            Err(answer) => return *answer,
        };
        let number = self.count(position, Operation::Token);
        let wrong = self.profile.tenants[position].faults.answer(Operation::Token, number, timestamp(now)).cloned();
        let Some(wrong) = wrong else { return self.issue(position, number, v2, form, now) };
        self.strikes("token answer", &wrong);
        if let Some(answer) = self.wrong(Operation::Token, &wrong, "") {
            return answer;
        }
        let mut answer = self.issue(position, number, v2, form, now);
        hamper(&mut answer, &wrong);
        answer
    }

    fn issue(&mut self, position: usize, number: u64, v2: bool, form: &Query, now: i64) -> Answer {
        let whole = Arc::clone(&self.profile);
        let profile = &whole.tenants[position];
        let at = timestamp(now);
        let wrong = profile.faults.tokens.iter().find(|fault| fault.when.applies(number, at)).map(|fault| fault.wrong);
        if let Some(wrong) = wrong {
            self.strikes("token", &wrong);
        }
        match wrong {
            Some(TokenWrong::SecretExpired) => {
                let words = format!(
                    "AADSTS7000222: The provided client secret keys for app '{}' are expired. Visit the Azure portal to \
                     create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate \
                     credentials for added security.",
                    profile.client
                );
                return self.oauth(401, "invalid_client", 7000222, &words, now);
            }
            Some(TokenWrong::ApiDisabled) => {
                let words = format!(
                    "AADSTS500014: The service principal for resource '{}' is disabled. This indicate that a \
                     subscription within the tenant has lapsed, or that the administrator for this tenant has disabled \
                     the application, preventing tokens from being issued for it.",
                    self.profile.audience
                );
                return self.oauth(400, "invalid_resource", 500014, &words, now);
            }
            Some(TokenWrong::Unavailable) => {
                let words = "AADSTS90033: A transient error has occurred. Please try again.";
                return self.oauth(503, "temporarily_unavailable", 90033, words, now);
            }
            _ => {}
        }
        if let Some(answer) = self.refuse(profile, v2, form, now) {
            return answer;
        }
        let asked = form.get(if v2 { "scope" } else { "resource" }).unwrap_or_default();
        let audience = asked.strip_suffix("/.default").unwrap_or(asked).trim_end_matches('/').to_owned();
        let roles = if wrong == Some(TokenWrong::NoRoles) { Vec::new() } else { profile.roles.clone() };
        let lives = match wrong {
            Some(TokenWrong::ShortLived(seconds)) => i64::from(seconds),
            _ => i64::from(profile.token_seconds),
        };
        let second = now.div_euclid(1_000);
        let object = Dice::new(&[self.profile.seed, position as u64, 0x0B1D]).guid();
        let token = self.sign(&Claims {
            aud: audience.clone(),
            iss: format!("https://sts.windows.net/{}/", profile.id),
            iat: second,
            // Entra backdates a little, so that clocks may differ
            nbf: second - 300,
            exp: second + lives,
            appid: profile.client.clone(),
            oid: object.clone(),
            sub: object,
            tid: profile.id.clone(),
            ver: "1.0".into(),
            roles,
        });
        let body = if v2 {
            json!({"token_type": "Bearer", "expires_in": lives, "ext_expires_in": lives, "access_token": token})
        } else {
            let text = lives.to_string();
            json!({
                "token_type": "Bearer", "expires_in": text, "ext_expires_in": text,
                "expires_on": (second + lives).to_string(), "not_before": (second - 300).to_string(),
                "resource": audience, "access_token": token
            })
        };
        Answer::json(200, &body)
    }

    /// The endpoint's own checks, in the order form, resource, application, secret.
    fn refuse(&self, tenant: &TenantProfile, v2: bool, form: &Query, now: i64) -> Option<Answer> {
        let oauth = |status, error, code, words: &str| Some(self.oauth(status, error, code, words, now));
        let target = if v2 { "scope" } else { "resource" };
        for field in ["grant_type", "client_id", target] {
            if form.get(field).is_none_or(str::is_empty) {
                let words = format!("AADSTS900144: The request body must contain the following parameter: '{field}'.");
                return oauth(400, "invalid_request", 900144, &words);
            }
        }
        if form.get("grant_type") != Some("client_credentials") {
            let words = "AADSTS70003: The app requested an unsupported grant type.";
            return oauth(400, "unsupported_grant_type", 70003, words);
        }
        let asked = form.get(target).unwrap_or_default();
        let resource = if v2 {
            let Some(resource) = asked.strip_suffix("/.default").filter(|it| !it.contains(' ')) else {
                let words = format!(
                    "AADSTS70011: The provided request must include a 'scope' input parameter. The \
                     provided value for the input parameter 'scope' is not valid. The scope {asked} is not valid."
                );
                return oauth(400, "invalid_scope", 70011, &words);
            };
            resource
        } else {
            asked
        };
        let resource = resource.trim_end_matches('/');
        if resource != self.profile.audience && resource != self.profile.base_url {
            let words = format!(
                "AADSTS500011: The resource principal named {resource} was not found in the tenant named {}. This can \
                 happen if the application has not been installed by the administrator of the tenant or consented to by \
                 any user in the tenant. You might have sent your authentication request to the wrong tenant.",
                tenant.id
            );
            return oauth(400, "invalid_resource", 500011, &words);
        }
        let client = form.get("client_id").unwrap_or_default();
        if !client.eq_ignore_ascii_case(&tenant.client) {
            let words = format!(
                "AADSTS700016: Application with identifier '{client}' was not found in the directory '{}'. This can \
                 happen if the application has not been installed by the administrator of the tenant or consented to by \
                 any user in the tenant. You may have sent your authentication request to the wrong tenant.",
                tenant.id
            );
            return oauth(400, "unauthorized_client", 700016, &words);
        }
        let secret = form.get("client_secret").unwrap_or_default();
        if !tenant.secrets.iter().any(|known| known == secret) {
            let words = format!(
                "AADSTS7000215: Invalid client secret provided. Ensure the secret being sent in the request is the client \
                 secret value, not the client secret ID, for a secret added to app '{}'.",
                tenant.client
            );
            return oauth(401, "invalid_client", 7000215, &words);
        }
        None
    }

    fn oauth(&self, status: u16, error: &str, code: u32, words: &str, now: i64) -> Answer {
        let mut dice = Dice::new(&[self.profile.seed, now as u64, u64::from(code)]);
        let (trace, correlation) = (dice.guid(), dice.guid());
        let stamp = iso(now);
        let stamp = format!("{}Z", stamp[..19].replace('T', " "));
        let description =
            format!("{words}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\nTimestamp: {stamp}");
        let body = json!({
            "error": error, "error_description": description, "error_codes": [code], "timestamp": stamp,
            "trace_id": trace, "correlation_id": correlation,
            "error_uri": format!("https://login.microsoftonline.com/error?code={code}")
        });
        Answer::new(status, Some(JSON), body.to_string())
    }
}
