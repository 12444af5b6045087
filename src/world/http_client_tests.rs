//! Tests of the HTTP client against loopback.
