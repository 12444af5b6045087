//! The cookies of one collector: what it set goes back to it, and nowhere else.
//!
//! Acknowledgement state lives on one indexer; a load balancer keeps a client at one by a cookie. Ours lives as long as
//! the open sink, knows one origin and one path, and is bounded; a general jar is neither bounded nor free of the clock.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use http::HeaderValue;

/// Most cookies that are kept, and the most bytes of one, name included: four times what a balancer needs.
const MOST: usize = 16;
const LONGEST: usize = 4096;

/// Name → value.
#[derive(Debug, Default)]
pub struct Cookies(Mutex<BTreeMap<String, String>>);

impl Cookies {
    /// Keeps what an answer set. A cookie without a value, or one that ends at once, is forgotten; lifetimes are
    /// otherwise left to the server, which sets a new one when it likes ours no longer.
    pub fn keep<'a>(&self, set: impl Iterator<Item = &'a HeaderValue>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for text in set.filter_map(|value| value.to_str().ok()) {
            let mut parts = text.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|first| first.split_once('=')) else { continue };
            let over = parts.any(|attribute| {
                let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
                key.trim().eq_ignore_ascii_case("max-age") && value.trim().parse::<i64>().is_ok_and(|age| age <= 0)
            });
            if over || value.is_empty() {
                kept.remove(name);
            } else if name.len() + value.len() <= LONGEST && (kept.len() < MOST || kept.contains_key(name)) {
                kept.insert(name.to_string(), value.to_string());
            }
        }
    }

    /// What the next request carries.
    pub fn header(&self) -> Option<HeaderValue> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs: Vec<_> = kept.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { None } else { HeaderValue::from_str(&pairs.join("; ")).ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(answers: &[&'static str]) -> Option<String> {
        let cookies = Cookies::default();
        for text in answers {
            cookies.keep([HeaderValue::from_static(text)].iter());
        }
        cookies.header().map(|value| value.to_str().expect("ascii").to_string())
    }

    #[test]
    fn what_was_set_goes_back() {
        assert_eq!(after(&[]), None);
        assert_eq!(
            after(&["AWSALB=a=b/c; Expires=Wed, 02 Dec 2026 10:00:00 GMT; Path=/"]),
            Some("AWSALB=a=b/c".into())
        );
        assert_eq!(after(&["b=2; Secure; HttpOnly", "a=1", "b=3"]), Some("a=1; b=3".into()));
        assert_eq!(after(&["a=1", "a=; path=/"]), None);
        assert_eq!(after(&["a=1; Max-Age=60", "b=1; max-age=0"]), Some("a=1".into()));
        assert_eq!(after(&["nonsense", "=; ;", "a=1; Max-Age=0"]), None);
    }

    #[test]
    fn their_number_and_length_are_bounded() {
        let cookies = Cookies::default();
        for n in 0..100 {
            let value = HeaderValue::from_str(&format!("c{n:02}=x")).expect("ascii");
            cookies.keep([value].iter());
        }
        cookies.keep([HeaderValue::from_str(&format!("c00={}", "y".repeat(5000))).expect("ascii")].iter());
        let header = cookies.header().expect("some");
        assert_eq!(header.to_str().expect("ascii").split("; ").count(), MOST);
        assert!(header.to_str().expect("ascii").starts_with("c00=x; c01=x"));
    }
}
