//! CA, client certificate and server name for the sinks that use TLS.
