use super::*;

fn answer(status: u16, body: &str) -> Answer {
    Answer { status, after: None, body: Some(body.into()) }
}

#[test]
fn the_table_has_no_row_twice_and_nothing_but_200_is_taken() {
    for (at, row) in ROWS.iter().enumerate() {
        assert!(ROWS[..at].iter().all(|other| (other.0, other.1) != (row.0, row.1)), "{} {:?}", row.0, row.1);
        assert!(row.2 != Class::Taken || row.0 == 200, "{} {:?}", row.0, row.1);
        assert!(row.2 != Class::Culprit || row.0 == 400, "{} {:?}", row.0, row.1);
    }
}

/// Every status that exists, with every code and with none: what is taken, and what blames a message, is exactly this.
#[test]
fn only_what_the_table_says_is_taken_or_blamed_on_a_message() {
    for status in 100..600 {
        let codes = (-1..30).chain([404, i64::MAX]).map(|code| (Some(code), format!("{{\"code\":{code}}}")));
        let pages =
            ["", "{}", "<html>", "null", "{\"code\":\"0\"}", "{\"code\":0", "[0]"].map(|page| (None, page.to_string()));
        for (code, body) in codes.chain(pages) {
            let class = answer(status, &body).class();
            let taken = status == 200 && matches!(code, Some(0 | 24 | 25));
            assert_eq!(class == Class::Taken, taken, "{status} {body}");
            let culprit = status == 400 && matches!(code, Some(6 | 12 | 13 | 15));
            assert_eq!(class == Class::Culprit, culprit, "{status} {body}");
            assert_eq!(class == Class::TooLarge, status == 413, "{status} {body}");
            if status >= 500 || matches!(status, 408 | 429) {
                assert_eq!(class, Class::Retry, "{status} {body}");
            }
            if matches!(status, 300..=399 | 401 | 403 | 404 | 405 | 415) {
                assert_eq!(class, Class::Blocked, "{status} {body}");
            }
        }
    }
}

/// Taken at its word, a number that is wrong would confirm what was not taken, or put an innocent event into quarantine.
#[test]
fn a_number_blames_no_event_and_confirms_none() {
    let refusal = |body: &str, count: usize| match answer(400, body).error(count, "here") {
        SinkError::Refused { refused, untaken, .. } => {
            (refused.iter().map(|r| r.position).collect::<Vec<_>>(), untaken)
        }
        other => panic!("{other:?}"),
    };
    let at = |n: i64| format!("{{\"code\":6,\"invalid-event-number\":{n}}}");
    for n in [0, 1, 2, 3, -1, i64::MAX, i64::MIN] {
        assert_eq!(refusal(&at(n), 3), (vec![], vec![]), "{n}: not known which");
        assert_eq!(refusal(&at(n), 1), (vec![0], vec![]), "{n}: alone it is the one");
    }
    assert_eq!(refusal("{\"code\":12}", 3), (vec![], vec![]));
    assert_eq!(refusal("{\"code\":12}", 1), (vec![0], vec![]));
}

#[test]
fn a_busy_server_that_says_where_it_stopped_gets_everything_again() {
    let busy = answer(503, "{\"code\":9,\"invalid-event-number\":2}").error(5, "here");
    assert!(matches!(&busy, SinkError::Retry { untaken, .. } if untaken.is_empty()), "{busy:?}");
}

#[test]
fn the_number_to_ask_for_is_read_in_both_spellings() {
    assert_eq!(answer(200, "{\"code\":0,\"ackId\":7}").said().and_then(|s| s.ack), Some(7));
    assert_eq!(answer(200, "{\"code\":0,\"ackID\":7}").said().and_then(|s| s.ack), Some(7));
    // one that can't be read is not the same as none
    for odd in ["\"7\"", "-1", "1.5", "[]"] {
        assert_eq!(answer(200, &format!("{{\"code\":0,\"ackId\":{odd}}}")).class(), Class::Retry, "{odd}");
    }
}

#[test]
fn words_say_where_what_and_what_to_do_but_nothing_of_the_body() {
    let cause = answer(403, "{\"text\":\"Invalid token abc\",\"code\":4}").words("splunk:8088");
    assert_eq!(
        cause.0,
        "splunk:8088 answered 403 with code 4 (Invalid token); look at option `token` and at Splunk's list of tokens [HecToken]"
    );
    let cause = answer(413, "<html>abc").words("splunk:8088");
    assert_eq!(
        cause.0,
        "splunk:8088 answered 413 with no code (Content too large); raise max_content_length in Splunk or lower `batch` [HecTooLarge]"
    );
    for status in 100..600 {
        assert!(!answer(status, "{\"text\":\"abc\",\"code\":99}").words("here").0.contains("abc"));
    }
}
