//! The door of the status page. What it looks like is looked at by `tests/peers/page`, in a browser.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::{
    agent::Stage,
    support::{PATIENCE, delivered, file_sink, listen},
};

/// Head and body of the answer to this request.
fn ask(stage: &Stage, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(listen(stage)).unwrap();
    write!(stream, "{}\r\nconnection: close\r\n\r\n", request.replace('\n', "\r\n")).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

#[test]
fn it_is_one_page_for_this_machine_only_to_be_read_and_a_browser_may_do_nothing_but_show_it() {
    let stage = Stage::new(&["--profile", "demo", "--publish-for", "1s"]);
    stage.configure("", &(file_sink(&stage, "siem", "siem.jsonl") + &file_sink(&stage, "lake", "missing/lake.jsonl")));
    let mut agent = stage.agent();
    stage.wait(PATIENCE, "deliveries, and a sink that failed", || {
        delivered(&stage, "siem") > 0 && ask(&stage, "GET / HTTP/1.1\nhost: localhost").1.contains("takes nothing")
    });
    let (head, page) = ask(&stage, "GET / HTTP/1.1\nhost: localhost");
    assert!(head.starts_with("http/1.1 200 ok"), "{head}");
    for header in [
        "content-type: text/html; charset=utf-8",
        "content-security-policy: default-src 'none'; style-src 'sha256-",
        "; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
        "x-content-type-options: nosniff",
    ] {
        assert!(head.contains(header), "{header} is not in {head}");
    }
    for words in
        ["<!DOCTYPE html>", "sink lake", "takes nothing", "the folder", "codec ocsf", "the books close", "deliver siem"]
    {
        assert!(page.contains(words), "{words} is not in {page}");
    }
    assert!(!page.contains("simulated-secret"), "no secret is shown");
    assert!(!page.contains("http-equiv=\"refresh\""), "it stands still");
    assert!(ask(&stage, "GET /?refresh HTTP/1.1\nhost: localhost").1.contains("http-equiv=\"refresh\" content=\"30\""));

    let (head, body) = ask(&stage, "HEAD / HTTP/1.1\nhost: 127.0.0.1");
    assert!(head.starts_with("http/1.1 200") && body.is_empty(), "{head}");
    let (head, _) = ask(&stage, "POST / HTTP/1.1\nhost: localhost\ncontent-length: 0");
    assert!(head.starts_with("http/1.1 405") && head.contains("allow: get,head"), "{head}");
    let (head, body) = ask(&stage, "GET /favicon.ico HTTP/1.1\nhost: localhost");
    assert!(head.starts_with("http/1.1 404"), "{head}");
    assert_eq!(body, "there is nothing here; there are / (the status page), /metrics, /livez and /readyz\n");
    // a page of another site whose name points to this machine
    for path in ["/", "/metrics", "/readyz"] {
        let (head, body) = ask(&stage, &format!("GET {path} HTTP/1.1\nhost: rebound.example:9464"));
        assert!(head.starts_with("http/1.1 421"), "{head}");
        assert!(body.starts_with("asked for as rebound.example, while agent.listen"), "{body}");
    }
    assert_eq!(agent.terminate(), Some(0));
}
