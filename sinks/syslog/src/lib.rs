//! RFC 5424 syslog over TCP and TLS.
