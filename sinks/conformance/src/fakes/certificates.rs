//! Certificates for tests, made anew each time.
